//! oidc-provider, a certified one, as a library that a script of ours starts.

use std::{net::SocketAddr, process::Stdio};

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
    harness::{
        bridge::Bridge,
        browser::Browser,
        program,
        recording_proxy::{Direction, RecordingProxy},
        shim::{self, Shim},
        until, within,
    },
};

const SCRIPT: &str = include_str!("../../clients/authority.mjs");

struct OidcProvider {
    /// Where it is reached.
    proxy: RecordingProxy,
    _process: Child,
    /// What it says; it would end if nobody listened.
    _words: Lines<BufReader<ChildStdout>>,
}

/// With access tokens that live for so many seconds, and more about the server in the bridge's
/// configuration.
async fn place(life: u32, more: &str) -> Place<OidcProvider> {
    let proxy = RecordingProxy::open().await;
    let issuer = format!("http://{}", proxy.address());
    let mut process = Command::new(node())
        .args(["--input-type=module", "--eval", SCRIPT])
        .args([&issuer, &life.to_string()])
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
    let port = first.expect("its words").expect("a line").parse();
    let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    proxy.lead_to(Some(address));
    let server = Server::start(&issuer, Looks::ByItsSecret).await;
    let authority = OidcProvider {
        proxy,
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
    assert_eq!(place.bridge.browser.page_count(), 0, "nobody was asked");
}

impl Place<OidcProvider> {
    /// Waits until all tokens that were issued have ended, those among them that were refreshed
    /// beside a call.
    async fn until_the_tokens_end(&self) {
        until("the end of all tokens", async || {
            for token in self.authority.issued() {
                if self.server.look_into(&token).await["active"] != false {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

impl OidcProvider {
    /// The access tokens that it has answered with.
    fn issued(&self) -> Vec<String> {
        let answered = self.proxy.answered().join("\n");
        let mut texts = answered.split("\"access_token\":\"");
        texts.next();
        texts
            .filter_map(|text| text.split('"').next().map(str::to_owned))
            .collect()
    }
}

/// When the bridge is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Its request for new tokens is on the way.
    BeforeUse,
    /// What the authorization server has answered is on the way.
    BetweenUseAndStore,
    /// The new access token was let in.
    AfterStore,
}

impl Moment {
    /// Has a call made that renews, and kills the bridge at this moment of it.
    async fn kill(self, place: &Place<OidcProvider>, shim: &mut Shim) {
        let process = place.bridge.process().await;
        let before = place.server.tokens().len();
        let proxy = &place.authority.proxy;
        let stopped = match self {
            Self::BeforeUse => Some(proxy.stop(Direction::Said, "grant_type=refresh_token")),
            Self::BetweenUseAndStore => Some(proxy.stop(Direction::Answered, "\"access_token\"")),
            Self::AfterStore => None,
        };
        let call = shim.ask("tools/call", json!({ "name": "whoami" })).await;
        let _held = match stopped {
            Some(stopped) => Some(within("the moment", stopped).await.expect("it is stopped")),
            None => {
                let more = async || (place.server.tokens().len() > before).then_some(());
                until("a new token", more).await;
                None
            }
        };
        program::kill(process);
        // Whether it was carried out is not known, so that this may be an error.
        shim.answer(call).await;
    }

    /// How many pages are opened for a person until a call has its answer again.
    fn pages(self) -> usize {
        match self {
            // The one token that there was is dead, and what it brought is lost.
            Self::BetweenUseAndStore => 1,
            Self::BeforeUse | Self::AfterStore => 0,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_killed_while_it_renews_costs_one_sign_in_at_most() {
    let place = place(2, "").await;
    let ada = async |browser: &Browser| sign_in(browser, "ada").await;
    place.sign_in("ada", ada).await;
    let mut shim = shim_with_browser(&place.bridge).await;
    answer(&mut shim).await;

    let moments = [
        Moment::BeforeUse,
        Moment::BetweenUseAndStore,
        Moment::AfterStore,
    ];
    for moment in moments.repeat(3) {
        place.until_the_tokens_end().await;
        let before = place.bridge.browser.page_count();
        let person = async {
            if moment.pages() > 0 {
                at_the_page(&place.bridge.browser.page(before).await, ada).await;
            }
        };
        let goes_on = async {
            moment.kill(&place, &mut shim).await;
            answer(&mut shim).await
        };
        let (who, ()) = tokio::join!(goes_on, person);
        assert_eq!(who, "ada", "{moment:?}");
        let pages = place.bridge.browser.page_count() - before;
        assert_eq!(pages, moment.pages(), "{moment:?}");
        let state = place.bridge.state().await;
        assert_eq!(state.bridge.vault.state, VaultState::KeyFile);
        assert_eq!(state.accounts.len(), 1, "{moment:?}");
    }
}

/// A shim of somebody who sits in front of a browser, which the bridges that it starts open.
async fn shim_with_browser(bridge: &Bridge) -> Shim {
    let mut command = shim::command(bridge, "one");
    command.env("BROWSER", bridge.browser.program());
    let mut shim = Shim::of(command);
    shim.initialize().await;
    shim
}

/// Who one is, once a call has an answer: the first may not, if the shim does not know yet that the
/// bridge is gone.
async fn answer(shim: &mut Shim) -> String {
    let answered = async || shim.call("whoami", json!({})).await.ok();
    until("an answer", answered).await
}
