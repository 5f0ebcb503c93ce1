//! Authorization servers of others, with the bridge as their client and a person at a real browser.

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

/// An authorization server, a server that trusts it, and a bridge that knows that as `one`. All
/// of them end with this value.
struct Place<A> {
    bridge: Bridge,
    server: Server,
    authority: A,
    _folder: TempDir,
}

impl<A> Place<A> {
    /// With more about the server in the bridge's configuration.
    async fn around(authority: A, server: Server, more: &str) -> Self {
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

    /// Signs in at the pages of the authority, as `pages` does it.
    async fn sign_in(&self, who: &str, pages: impl AsyncFnOnce(&Browser)) {
        let signing_in = self.bridge.run(&["sign-in", "one"]);
        let person = async { at_the_page(&self.bridge.browser.page(0).await, pages).await };
        let (said, ()) = tokio::join!(signing_in, person);
        assert_eq!(said, format!("Signed in to one as {who}@example.test.\n"));
    }

    /// Signs in with a browser that is elsewhere, which `pages` drives from the page that is told
    /// and with the code that is told.
    async fn sign_in_elsewhere(&self, who: &str, pages: impl AsyncFnOnce(&Browser, &str)) {
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
        pages(&browser, code).await;
        let mut said = String::new();
        let mut stdout = process.stdout.take().expect("its words");
        let read = within("its end", stdout.read_to_string(&mut said)).await;
        read.expect("text");
        assert_eq!(said, format!("Signed in to one as {who}@example.test.\n"));
        assert_eq!(
            self.bridge.browser.page_count(),
            0,
            "no page was opened here"
        );
    }

    /// Calls until the tokens were renewed twice, and sees that nobody was asked meanwhile.
    async fn renews_twice(&self, shim: &mut Shim, who: &str) {
        assert_eq!(who_am_i(shim).await, who);
        until("two renewals", async || {
            assert_eq!(who_am_i(shim).await, who);
            (self.server.tokens().len() > 2).then_some(())
        })
        .await;
        assert_eq!(
            self.bridge.browser.page_count(),
            1,
            "nobody was asked again"
        );
    }
}

/// Does what `pages` does at a page, in a browser that has never been there.
async fn at_the_page(page: &str, pages: impl AsyncFnOnce(&Browser)) {
    let browser = Browser::open().await;
    browser.go_to(page).await;
    pages(&browser).await;
    sign_in_pages::expect_signed_in(&browser).await;
}

async fn who_am_i(shim: &mut Shim) -> String {
    shim.call("whoami", json!({})).await.expect("a name")
}
