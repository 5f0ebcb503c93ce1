//! Glewlwyd, as Debian has it: a program in C that shares no code and no author with the others.
//!
//! It compares redirect URIs with their ports, wants a secret from whoever has it forget a token,
//! and takes a registration only from those who call the grant for devices by a name of its own.

mod authority;
mod folder;

use super::{Place, server::Looks, server::Server, who_am_i};
use crate::harness::{browser::Browser, free_port, shim::Shim};
use authority::{Glewlwyd, PASSWORD, Setting};

/// `None` where no package brings it.
#[expect(clippy::print_stderr, reason = "a case that tries nothing must say so")]
async fn place(devices: bool, life: u32, more: &str) -> Option<Place<Glewlwyd>> {
    if !authority::is_here() {
        eprintln!("NOT TRIED: only Debian and its kin have glewlwyd");
        return None;
    }
    let port = free_port().await;
    let server = Server::start(&authority::issuer(port), Looks::ByItsToken).await;
    let setting = Setting {
        port,
        life,
        devices,
        resource: &server.url(),
    };
    let authority = Glewlwyd::start(&setting).await;
    authority.add_person("ada").await;
    Some(Place::around(authority, server, more).await)
}

/// Says who one is, agrees, and goes back to whom one came from.
async fn sign_in(browser: &Browser, who: &str) {
    browser.fill("#username", who).await;
    browser.fill("#password", PASSWORD).await;
    browser.click("#loginbut").await;
    browser.click("#grant-mcp\\.read").await;
    browser.click(".card-body button.btn-primary").await;
    // There is a button to go on before that is agreed to, and it would not lead there.
    browser
        .click("body:not(:has(#grant-mcp\\.read)) button.btn-success")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_signs_in_renews_with_rotation_and_forgets() {
    let Some(place) = place(false, 4, "").await else {
        return;
    };
    place
        .sign_in("ada", async |browser| sign_in(browser, "ada").await)
        .await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    place.renews_twice(&mut shim, "ada").await;
    let tokens = place.authority.refresh_tokens("ada").await;
    assert!(
        tokens.of_old > 1,
        "each renewal brings a new one: {tokens:?}"
    );
    assert_eq!(tokens.alive, 1, "{tokens:?}");

    place.bridge.sign_out().await;
    let tokens = place.authority.refresh_tokens("ada").await;
    assert_eq!(tokens.alive, 0, "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_in_by_a_code_on_another_device() {
    let client = "auth = { kind = \"client\", client_id = \"a-device\" }";
    let Some(place) = place(true, 600, client).await else {
        return;
    };
    place.authority.add_device("a-device").await;
    place
        .sign_in_elsewhere("ada", async |browser, code| {
            browser.fill("input[maxlength='9']", code).await;
            browser.click(".card-body button.btn-primary").await;
            sign_in(browser, "ada").await;
        })
        .await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "ada");
}
