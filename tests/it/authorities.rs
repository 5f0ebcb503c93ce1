//! Authorization servers of others, with the bridge as their client and a person at a real browser.

mod server;

use std::{net::SocketAddr, process::Stdio};

use control::api::Request;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    clients::{node, tools},
    world::{
        bridge::Bridge, browser::Browser, free_port, person, program, shim::Shim, until, within,
    },
};
use server::Server;

const OIDC_PROVIDER: &str = include_str!("../clients/authority.mjs");

/// An authorization server, a server that trusts it, and a bridge that knows that as `one`. All
/// of them end with this value.
struct Place {
    bridge: Bridge,
    server: Server,
    _authority: Child,
    /// What it says; it would end if nobody listened.
    _words: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Place {
    /// With access tokens that live for so many seconds, and more about the server in the bridge's
    /// configuration.
    async fn start(life: u32, more: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().await));
        let mut authority = Command::new(node())
            .args(["--input-type=module", "--eval", OIDC_PROVIDER])
            .args([address.port().to_string(), life.to_string()])
            .current_dir(tools().join("clients/node"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("oidc-provider; hint: `cargo xtask tools` installs it");
        let words = authority.stdout.take().expect("its words");
        let mut words = BufReader::new(words).lines();
        let first = within("oidc-provider", words.next_line()).await;
        assert_eq!(first.expect("its words").as_deref(), Some("listening"));
        let server = Server::start(&format!("http://{address}")).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = server.url();
        let config = format!("[bridge]\nport = 0\n[servers.one]\nurl = \"{url}\"\n{more}\n");
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        Self {
            bridge,
            server,
            _authority: authority,
            _words: words,
            _folder: folder,
        }
    }

    async fn sign_in(&self, who: &str) {
        let browser = Browser::open().await;
        let signing_in = self.bridge.run(&["sign-in", "one"]);
        let at_the_page = async {
            browser.go_to(&self.bridge.tabs.page(0).await).await;
            sign_in_at_oidc_provider(&browser, who).await;
            person::is_back(&browser).await;
        };
        let (said, ()) = tokio::join!(signing_in, at_the_page);
        assert_eq!(said, format!("Signed in to one as {who}@example.test.\n"));
    }
}

/// Says who one is, and agrees.
async fn sign_in_at_oidc_provider(browser: &Browser, who: &str) {
    browser.fill("input[name=login]", who).await;
    browser.fill("input[name=password]", "any").await;
    browser.click("button[type=submit]").await;
    browser.find("input[name=prompt][value=consent]").await;
    browser.click("button[type=submit]").await;
}

async fn who_am_i(shim: &mut Shim) -> String {
    shim.call("whoami", json!({})).await.expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_signs_in_renews_with_rotation_and_forgets() {
    let place = Place::start(4, "").await;
    place.sign_in("ada").await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "ada");
    // Each renewal takes the refresh token that the one before brought; the old ones are dead.
    until("two renewals", async || {
        assert_eq!(who_am_i(&mut shim).await, "ada");
        (place.server.tokens().len() > 2).then_some(())
    })
    .await;
    assert_eq!(place.bridge.tabs.count(), 1, "nobody was asked again");

    let last = place.server.tokens().pop().expect("a token");
    assert_eq!(place.server.look_into(&last).await["active"], true);
    place
        .bridge
        .ask(Request::SignOut {
            account: None,
            everywhere: false,
        })
        .await;
    assert_eq!(place.server.look_into(&last).await["active"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_signs_in_by_a_code_on_another_device() {
    let place = Place::start(600, "").await;
    let mut command = Command::new(program::postern());
    command
        .args(["sign-in", "one", "--device", "--home"])
        .arg(place.bridge.root())
        .env_clear()
        .env("HOME", place.bridge.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut process = command.spawn().expect("postern starts");
    let mut told = BufReader::new(process.stderr.take().expect("its words")).lines();
    let mut indented = Vec::new();
    while indented.len() < 2 {
        let line = within("the page and the code", told.next_line()).await;
        let line = line.expect("its words").expect("it goes on");
        indented.extend(line.strip_prefix("  ").map(str::to_owned));
    }
    let (page, code) = (&indented[0], &indented[1]);
    let browser = Browser::open().await;
    browser.go_to(page).await;
    browser.fill("input[name=user_code]", code).await;
    browser.click("button[type=submit]").await;
    let confirm = "button[form='op.deviceConfirmForm'][autofocus]";
    browser.click(confirm).await;
    sign_in_at_oidc_provider(&browser, "grace").await;
    let mut said = String::new();
    let mut stdout = process.stdout.take().expect("its words");
    let read = within("its end", stdout.read_to_string(&mut said)).await;
    read.expect("text");
    assert_eq!(said, "Signed in to one as grace@example.test.\n");
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "grace");
    assert_eq!(place.bridge.tabs.count(), 0, "no page was opened here");
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_lets_a_program_in_by_its_secret() {
    let auth = "auth = { kind = \"client-credentials\", client_id = \"a-program\", \
                client_secret = { keychain = \"program\" } }";
    let place = Place::start(600, auth).await;
    let secret = ["secrets", "set", "program"];
    place.bridge.run_with(&secret, "proves-a-program").await;
    let mut shim = Shim::connect(&place.bridge, "one").await;
    assert_eq!(who_am_i(&mut shim).await, "a-program");
    assert_eq!(place.bridge.tabs.count(), 0, "nobody was asked");
}
