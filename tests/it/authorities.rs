//! Third-party authorization servers with the bridge as their client and a user at a real browser.

mod glewlwyd;
mod oidc_provider;
mod server;

use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use crate::harness::{
    bridge::Bridge, browser::Browser, program, shim::Shim, sign_in_pages, until, within,
};
use server::Server;

/// An authorization server, a server that trusts it, and a bridge that knows the server as `one`.
/// All of them stop when it is dropped.
struct Setup<A> {
    bridge: Bridge,
    server: Server,
    authority: A,
    _folder: TempDir,
}

impl<A> Setup<A> {
    /// Starts the bridge. `more` is added to the server's section of its configuration.
    async fn start(authority: A, server: Server, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = server.url();
        let config = format!("[bridge]\nport = 0\n[servers.one]\nurl = \"{url}\"\n{more}\n");
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        Self {
            bridge,
            server,
            authority,
            _folder: folder,
        }
    }

    /// Signs in on the authorization server's pages. `pages` performs the user's actions.
    async fn sign_in(&self, who: &str, pages: impl AsyncFnOnce(&Browser)) {
        let signing_in = self.bridge.run(&["sign-in", "one"]);
        let user = async { sign_in_at_page(&self.bridge.browser.page(0).await, pages).await };
        let (said, ()) = tokio::join!(signing_in, user);
        assert_eq!(said, format!("Signed in to one as {who}@example.test.\n"));
    }

    /// Signs in with a device code. `pages` performs the user's actions at the verification URI
    /// with the user code.
    async fn sign_in_by_device_code(&self, who: &str, pages: impl AsyncFnOnce(&Browser, &str)) {
        let mut command = Command::new(program::postern());
        command
            .args(["sign-in", "one", "--device", "--home"])
            .arg(self.bridge.root())
            .env_clear()
            .env("HOME", self.bridge.root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().expect("postern starts");
        let mut told = BufReader::new(process.stderr.take().expect("its output")).lines();
        let mut indented = Vec::new();
        while indented.len() < 2 {
            let line = within("the page and the code", told.next_line()).await;
            let line = line.expect("its output").expect("it goes on");
            indented.extend(line.strip_prefix("  ").map(str::to_owned));
        }
        let (page, code) = (&indented[0], &indented[1]);
        let browser = Browser::open().await;
        browser.go_to(page).await;
        pages(&browser, code).await;
        let mut said = String::new();
        let mut stdout = process.stdout.take().expect("its output");
        let read = within("its end", stdout.read_to_string(&mut said)).await;
        read.expect("text");
        assert_eq!(said, format!("Signed in to one as {who}@example.test.\n"));
        assert_eq!(
            self.bridge.browser.page_count(),
            0,
            "no page was opened here"
        );
    }

    /// Calls until the tokens were refreshed twice, and checks that no page was opened meanwhile.
    async fn expect_two_refreshes(&self, shim: &mut Shim, who: &str) {
        assert_eq!(call_whoami(shim).await, who);
        until("two renewals", async || {
            assert_eq!(call_whoami(shim).await, who);
            (self.server.tokens().len() > 2).then_some(())
        })
        .await;
        assert_eq!(
            self.bridge.browser.page_count(),
            1,
            "no page was opened again"
        );
    }
}

/// Opens a page in a new browser and performs the user's actions there.
async fn sign_in_at_page(page: &str, pages: impl AsyncFnOnce(&Browser)) {
    let browser = Browser::open().await;
    browser.go_to(page).await;
    pages(&browser).await;
    sign_in_pages::expect_signed_in(&browser).await;
}

async fn call_whoami(shim: &mut Shim) -> String {
    shim.call("whoami", json!({})).await.expect("a name")
}
