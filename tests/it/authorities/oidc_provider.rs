//! oidc-provider, a certified implementation, as a library that a script of ours starts.

use std::{net::SocketAddr, process::Stdio};

use control::api::VaultState;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{
    Setup, call_whoami,
    server::{IntrospectionAuth, Server},
    sign_in_at_page,
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
    /// The address of the issuer.
    proxy: RecordingProxy,
    _process: Child,
    /// Its output, held open because the script exits when it is closed.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// Starts everything. Access tokens live for `token_lifetime` seconds. `more` is added to the
/// server's section of the configuration.
async fn setup(token_lifetime: u32, more: &str) -> Setup<OidcProvider> {
    let proxy = RecordingProxy::open().await;
    let issuer = format!("http://{}", proxy.address());
    let mut process = Command::new(node())
        .args(["--input-type=module", "--eval", SCRIPT])
        .args([&issuer, &token_lifetime.to_string()])
        .current_dir(tools().join("clients/node"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("oidc-provider; hint: `cargo xtask tools` installs it");
    let words = process.stdout.take().expect("its output");
    let mut words = BufReader::new(words).lines();
    let first = within("oidc-provider", words.next_line()).await;
    let port = first.expect("its output").expect("a line").parse();
    let address = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    proxy.forward_to(Some(address));
    let server = Server::start(&issuer, IntrospectionAuth::ClientSecret).await;
    let authority = OidcProvider {
        proxy,
        _process: process,
        _stdout: words,
    };
    Setup::start(authority, server, more).await
}

/// Signs in and consents.
async fn sign_in(browser: &Browser, who: &str) {
    browser.fill("input[name=login]", who).await;
    browser.fill("input[name=password]", "any").await;
    browser.click("button[type=submit]").await;
    browser.find("input[name=prompt][value=consent]").await;
    browser.click("button[type=submit]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_refreshes_with_rotation_and_revokes() {
    let setup = setup(4, "").await;
    setup
        .sign_in("ada", async |browser| sign_in(browser, "ada").await)
        .await;
    let mut shim = Shim::connect(&setup.bridge, "one").await;
    // Each refresh uses the refresh token of the previous one. The older ones are invalid.
    setup.expect_two_refreshes(&mut shim, "ada").await;

    let last = setup.server.tokens().pop().expect("a token");
    assert_eq!(setup.server.introspect(&last).await["active"], true);
    setup.bridge.sign_out().await;
    assert_eq!(setup.server.introspect(&last).await["active"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_code_sign_in_succeeds() {
    let setup = setup(600, "").await;
    setup
        .sign_in_by_device_code("grace", async |browser, code| {
            browser.fill("input[name=user_code]", code).await;
            browser.click("button[type=submit]").await;
            let confirm = "button[form='op.deviceConfirmForm'][autofocus]";
            browser.click(confirm).await;
            sign_in(browser, "grace").await;
        })
        .await;
    let mut shim = Shim::connect(&setup.bridge, "one").await;
    assert_eq!(call_whoami(&mut shim).await, "grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_with_secret_are_accepted() {
    let auth = "auth = { kind = \"client-credentials\", client_id = \"a-program\", \
                client_secret = { secret = \"program\" } }";
    let setup = setup(600, auth).await;
    let secret = ["secrets", "set", "program"];
    setup.bridge.run_with(&secret, "proves-a-program").await;
    let mut shim = Shim::connect(&setup.bridge, "one").await;
    assert_eq!(call_whoami(&mut shim).await, "a-program");
    assert_eq!(setup.bridge.browser.page_count(), 0, "no page was opened");
}

impl Setup<OidcProvider> {
    /// Waits until all issued tokens have expired, including those that were refreshed during a
    /// call.
    async fn until_the_tokens_end(&self) {
        until("the end of all tokens", async || {
            for token in self.authority.issued() {
                if self.server.introspect(&token).await["active"] != false {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

impl OidcProvider {
    /// Returns all access tokens that it issued.
    fn issued(&self) -> Vec<String> {
        let answered = self.proxy.responses().join("\n");
        let mut texts = answered.split("\"access_token\":\"");
        texts.next();
        texts
            .filter_map(|text| text.split('"').next().map(str::to_owned))
            .collect()
    }
}

/// When the bridge is killed during a refresh.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// While its token request is on the way.
    BeforeUse,
    /// While the token response is on the way.
    BetweenUseAndStore,
    /// After the server accepted the new access token.
    AfterStore,
}

impl Moment {
    /// Makes a call that causes a refresh, and kills the bridge at this moment.
    async fn kill(self, setup: &Setup<OidcProvider>, shim: &mut Shim) {
        let process = setup.bridge.process().await;
        let before = setup.server.tokens().len();
        let proxy = &setup.authority.proxy;
        let stopped = match self {
            Self::BeforeUse => Some(proxy.stop(Direction::Request, "grant_type=refresh_token")),
            Self::BetweenUseAndStore => Some(proxy.stop(Direction::Response, "\"access_token\"")),
            Self::AfterStore => None,
        };
        let call = shim
            .send_request("tools/call", json!({ "name": "whoami" }))
            .await;
        let _held = match stopped {
            Some(stopped) => Some(within("the moment", stopped).await.expect("it is stopped")),
            None => {
                let more = async || (setup.server.tokens().len() > before).then_some(());
                until("a new token", more).await;
                None
            }
        };
        program::kill(process);
        // This may be an error, because the outcome of the call is unknown.
        shim.response(call).await;
    }

    /// Returns how many pages are opened until a call succeeds again.
    fn pages(self) -> usize {
        match self {
            // The only refresh token was used, and its successor is lost.
            Self::BetweenUseAndStore => 1,
            Self::BeforeUse | Self::AfterStore => 0,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bridge_killed_during_refresh_needs_at_most_one_sign_in() {
    let setup = setup(2, "").await;
    let ada = async |browser: &Browser| sign_in(browser, "ada").await;
    setup.sign_in("ada", ada).await;
    let mut shim = shim_with_browser(&setup.bridge).await;
    answer(&mut shim).await;

    let moments = [
        Moment::BeforeUse,
        Moment::BetweenUseAndStore,
        Moment::AfterStore,
    ];
    for moment in moments.repeat(3) {
        setup.until_the_tokens_end().await;
        let before = setup.bridge.browser.page_count();
        let user = async {
            if moment.pages() > 0 {
                sign_in_at_page(&setup.bridge.browser.page(before).await, ada).await;
            }
        };
        let goes_on = async {
            moment.kill(&setup, &mut shim).await;
            answer(&mut shim).await
        };
        let (who, ()) = tokio::join!(goes_on, user);
        assert_eq!(who, "ada", "{moment:?}");
        let pages = setup.bridge.browser.page_count() - before;
        assert_eq!(pages, moment.pages(), "{moment:?}");
        let state = setup.bridge.state().await;
        assert_eq!(state.bridge.vault.state, VaultState::KeyFile);
        assert_eq!(state.accounts.len(), 1, "{moment:?}");
    }
}

/// Returns a shim whose bridges can open a browser.
async fn shim_with_browser(bridge: &Bridge) -> Shim {
    let mut command = shim::command(bridge, "one");
    command.env("BROWSER", bridge.browser.program());
    let mut shim = Shim::from_command(command);
    shim.initialize().await;
    shim
}

/// Returns the user's name once a call succeeds. The first may fail if the shim does not know yet
/// that the bridge is gone.
async fn answer(shim: &mut Shim) -> String {
    let answered = async || shim.call("whoami", json!({})).await.ok();
    until("an answer", answered).await
}
