//! Glewlwyd of Debian: a program in C that shares no code and no author with the others.
//!
//! It compares redirect URIs including ports, requires client authentication for revocation, and
//! accepts a registration only if it names the device grant with Glewlwyd's own name.

mod authority;
mod folder;

use super::{Setup, call_whoami, server::IntrospectionAuth, server::Server};
use crate::harness::{browser::Browser, free_port, shim::Shim};
use authority::{Glewlwyd, Options, PASSWORD};

/// Starts everything. Returns `None` if the system has no package of Glewlwyd.
#[expect(clippy::print_stderr, reason = "a skipped case must be reported")]
async fn setup(devices: bool, token_lifetime: u32, more: &str) -> Option<Setup<Glewlwyd>> {
    if !authority::is_installed() {
        eprintln!("SKIPPED: only Debian-based systems have glewlwyd");
        return None;
    }
    let port = free_port().await;
    let server = Server::start(&authority::issuer(port), IntrospectionAuth::AccessToken).await;
    let setting = Options {
        port,
        token_lifetime,
        devices,
        resource: &server.url(),
    };
    let authority = Glewlwyd::start(&setting).await;
    authority.add_user("ada").await;
    Some(Setup::start(authority, server, more).await)
}

/// Signs in, consents, and returns to the client.
async fn sign_in(browser: &Browser, who: &str) {
    browser.fill("#username", who).await;
    browser.fill("#password", PASSWORD).await;
    browser.click("#loginbut").await;
    browser.click("#grant-mcp\\.read").await;
    browser.click(".card-body button.btn-primary").await;
    // The button to continue exists before the consent, but leads elsewhere then.
    browser
        .click("body:not(:has(#grant-mcp\\.read)) button.btn-success")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_client_refreshes_with_rotation_and_revokes() {
    let Some(setup) = setup(false, 4, "").await else {
        return;
    };
    setup
        .sign_in("ada", async |browser| sign_in(browser, "ada").await)
        .await;
    let mut shim = Shim::connect(&setup.bridge, "one").await;
    setup.expect_two_refreshes(&mut shim, "ada").await;
    let tokens = setup.authority.refresh_tokens("ada").await;
    assert!(
        tokens.disabled > 1,
        "each renewal brings a new one: {tokens:?}"
    );
    assert_eq!(tokens.enabled, 1, "{tokens:?}");

    setup.bridge.sign_out().await;
    let tokens = setup.authority.refresh_tokens("ada").await;
    assert_eq!(tokens.enabled, 0, "{tokens:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn device_code_sign_in_succeeds() {
    let client = "auth = { kind = \"client\", client_id = \"a-device\" }";
    let Some(setup) = setup(true, 600, client).await else {
        return;
    };
    setup.authority.add_device("a-device").await;
    setup
        .sign_in_by_device_code("ada", async |browser, code| {
            browser.fill("input[maxlength='9']", code).await;
            browser.click(".card-body button.btn-primary").await;
            sign_in(browser, "ada").await;
        })
        .await;
    let mut shim = Shim::connect(&setup.bridge, "one").await;
    assert_eq!(call_whoami(&mut shim).await, "ada");
}
