//! oidc-provider, a certified one, as a library that a script of ours starts.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use control::api::VaultState;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{
    Place, at_the_page,
    server::{Looks, Server},
    who_am_i,
};
use crate::{
    clients::{node, tools},
    world::{browser::Browser, free_port, program, shim::Shim, until, within},
};

const SCRIPT: &str = include_str!("../../clients/authority.mjs");

struct OidcProvider {
    _process: Child,
    /// What it says; it would end if nobody listened.
    _words: Lines<BufReader<ChildStdout>>,
}

/// With access tokens that live for so many seconds, and more about the server in the bridge's
/// configuration.
async fn place(life: u32, more: &str) -> Place<OidcProvider> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let mut process = Command::new(node())
        .args(["--input-type=module", "--eval", SCRIPT])
        .args([address.port().to_string(), life.to_string()])
        .current_dir(tools().join("clients/node"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("oidc-provider; hint: `cargo xtask tools` installs it");
    let words = process.stdout.take().expect("its words");
    let mut words = BufReader::new(words).lines();
    let first = within("oidc-provider", words.next_line()).await;
    assert_eq!(first.expect("its words").as_deref(), Some("listening"));
    let server = Server::start(&format!("http://{address}"), Looks::ByItsSecret).await;
    let authority = OidcProvider {
        _process: process,
        _words: words,
    };
    Place::around(authority, server, more).await
}

/// Says who one is, and agrees.
async fn sign_in(browser: &Browser, who: &str) {
    browser.fill("input[name=login]", who).await;
    browser.fill("input[name=password]", "any").await;
    browser.click("button[type=submit]").await;
    browser.find("input[name=prompt][value=consent]").await;
    browser.click("button[type=submit]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_in_renews_with_rotation_and_forgets() {
    let place = place(4, "").await;
    place
        .sign_in("ada", async |browser| sign_in(browser, "ada").await)
        .await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    // Each renewal takes the refresh token that the one before brought; the old ones are dead.
    place.renews_twice(&mut shim, "ada").await;

    let last = place.server.tokens().pop().expect("a token");
    assert_eq!(place.server.look_into(&last).await["active"], true);
    place.bridge.sign_out().await;
    assert_eq!(place.server.look_into(&last).await["active"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_in_by_a_code_on_another_device() {
    let place = place(600, "").await;
    place
        .sign_in_elsewhere("grace", async |browser, code| {
            browser.fill("input[name=user_code]", code).await;
            browser.click("button[type=submit]").await;
            let confirm = "button[form='op.deviceConfirmForm'][autofocus]";
            browser.click(confirm).await;
            sign_in(browser, "grace").await;
        })
        .await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn lets_a_program_in_by_its_secret() {
    let auth = "auth = { kind = \"client-credentials\", client_id = \"a-program\", \
                client_secret = { keychain = \"program\" } }";
    let place = place(600, auth).await;
    let secret = ["secrets", "set", "program"];
    place.bridge.run_with(&secret, "proves-a-program").await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "a-program");
    assert_eq!(place.bridge.tabs.count(), 0, "nobody was asked");
}

/// How often the bridge is killed: at as many moments, evenly over the time that a call takes.
const MOMENTS: u32 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_killed_while_it_renews_costs_one_sign_in_at_most() {
    let place = place(1, "").await;
    let ada = async |browser: &Browser| sign_in(browser, "ada").await;
    place.sign_in("ada", ada).await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    let mut whole = Duration::ZERO;
    for _ in 0..5 {
        place.until_the_token_ends().await;
        let begun = Instant::now();
        assert_eq!(who_am_i(&mut shim).await, "ada");
        whole = whole.max(begun.elapsed());
    }
    let mut asked = 0;
    for moment in 0..MOMENTS {
        place.until_the_token_ends().await;
        let process = place.bridge.process().await;
        let call = shim.ask("tools/call", json!({ "name": "whoami" })).await;
        let then = Instant::now() + whole * moment / MOMENTS;
        while Instant::now() < then {
            tokio::task::yield_now().await;
        }
        program::kill(process);

        let before = place.bridge.tabs.count();
        let goes_on = async {
            // A call that is under way may end with an error, and so may the next one, if the
            // shim does not know yet that the bridge is gone.
            shim.answer(call).await;
            until("an answer", async || {
                shim.call("whoami", json!({})).await.ok()
            })
            .await
        };
        let person = async {
            let page = place.bridge.tabs.page(before).await;
            at_the_page(&page, ada).await;
            std::future::pending().await
        };
        tokio::select! {
            who = goes_on => assert_eq!(who, "ada", "moment {moment}"),
            never = person => never,
        }
        let pages = place.bridge.tabs.count() - before;
        assert!(pages <= 1, "{pages} pages at moment {moment}");
        asked += u32::try_from(pages).expect("one");
        let state = place.bridge.state().await;
        assert_eq!(state.bridge.vault.state, VaultState::KeyFile);
        assert_eq!(state.accounts.len(), 1, "moment {moment}");
    }
    // A token that was used and not kept is dead here; before and after that, nothing is lost.
    assert!(
        asked < MOMENTS,
        "none was before its use or after it was kept"
    );
}
