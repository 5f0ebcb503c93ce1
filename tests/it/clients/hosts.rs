//! Third-party hosts, signed out and then signed in: which tools their models are offered before,
//! during and after.
//!
//! Owns: five hosts without an account at a provider, over stdio and over HTTP.
//! Does not own: what a host may see before a sign-in. The bridge's own cases (`first_contact`)
//! have that.

mod model;
mod program;

use std::{path::PathBuf, pin::pin, process::Output, time::Duration};

use tokio::{process::Child, time::timeout};

use model::{LAST_WORDS, Model, Turn};
use program::{Entry, Host};

use crate::harness::{Harness, bridge::Bridge, program::postern, shim, within};

/// The user's prompt. The model ignores it.
const PROMPT: &str = "Say hello with snippets.";

/// The tool in place of the server's own, and one of the server's own.
const STAND_IN: &str = "sign_in_snippets";
const REAL: &str = "hello_mcp";

/// The result of the server's tool.
const HELLO: &str = "Hello I am MCPTool!";

/// Claude Code asks its model after 25 s if its subscription gets no response.
const START: Duration = Duration::from_secs(20);

/// When a host lists the tools again after a `list_changed` notification.
#[derive(Clone, Copy, Debug)]
enum Reload {
    AtOnce,
    NextRun,
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_signs_in_by_stand_in_tool() {
    check(Host::ClaudeCode, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_signs_in_by_stand_in_tool() {
    check(Host::Codex, Reload::NextRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_cli_signs_in_by_stand_in_tool() {
    check(Host::GeminiCli, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_code_signs_in_by_stand_in_tool() {
    check(Host::QwenCode, Reload::NextRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode_signs_in_by_stand_in_tool() {
    check(Host::Opencode, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_starts_soon_while_signed_out() {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let setup = Setup::make(&harness, Host::ClaudeCode, transport, 1).await;
        let model = Model::start().await;
        let _running = setup.start(&model);
        let first = timeout(START, model.turn(0)).await;
        assert!(first.is_ok(), "over {transport}: too late");
    }
}

async fn check(host: Host, reload: Reload) {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let what = format!("{host:?} over {transport}");
        let setup = Setup::make(&harness, host, transport, 1).await;
        let first = setup.run(async |model| {
            let before = model.turn(0).await;
            assert!(before.offers(STAND_IN), "{what}: {before:?}");
            assert!(!before.offers(REAL), "{what}: {before:?}");
            let page = setup.bridge.browser.page(0).await;
            harness.sign_in_at(&page).await;
        });
        let after = first.await;
        let result = after.results.first().expect("a result");
        assert!(result.contains("Signed in to snippets"), "{what}: {result}");
        match reload {
            Reload::AtOnce => assert_real_tool_called(&what, &after),
            Reload::NextRun => {
                assert!(!after.offers(REAL), "{what} reloads after all: {after:?}");
                assert_real_tool_called(&what, &setup.run(async |_| {}).await);
            }
        }
        assert_eq!(setup.bridge.browser.page_count(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_code_lists_tools_if_sign_in_completes_in_time() {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let setup = Setup::make(&harness, Host::QwenCode, transport, 50).await;
        let run = setup.run(async |_| {
            let page = setup.bridge.browser.page(0).await;
            // The host gives up a server over HTTP after 5 s, and Chromium may take as long to
            // start.
            setup.bridge.run(&["demo-browser", &page]).await;
        });
        let last = run.await;
        assert_real_tool_called(transport, &last);
        assert_eq!(last.results.len(), 1, "{transport}: {last:?}");
    }
}

/// Checks that the server's own tool was offered and called.
fn assert_real_tool_called(what: &str, last: &Turn) {
    assert!(last.offers(REAL), "{what}: {last:?}");
    let result = last.results.last().expect("a result");
    assert!(result.contains(HELLO), "{what}: {result}");
}

/// A host whose configuration names a server without a sign-in.
struct Setup {
    host: Host,
    entry: Entry,
    bridge: Bridge,
    home: PathBuf,
}

impl Setup {
    /// Creates the configuration. Lists wait for a sign-in for `list_wait` seconds.
    async fn make(harness: &Harness, host: Host, transport: &str, list_wait: u64) -> Self {
        let folder = harness.folder().join(transport);
        let config = format!(
            "[bridge]\nport = 0\nsign_in_wait_seconds = 50\nlist_wait_seconds = {list_wait}\n[servers.snippets]\nurl = \"{}/snippets/mcp\"\n",
            harness.servers.gateway_url()
        );
        let bridge = Bridge::configured(&folder, &config);
        bridge.start().await;
        let url = bridge.state().await.servers[0].endpoint.clone();
        let entry = match transport {
            "http" => Entry::Http {
                url: url.expect("an endpoint"),
            },
            _ => Entry::Stdio {
                command: postern().display().to_string(),
                args: shim::arguments("snippets", bridge.root()).into(),
            },
        };
        Self {
            host,
            entry,
            home: folder.join("host"),
            bridge,
        }
    }

    /// Starts the host. It stops when the result is dropped.
    fn start(&self, model: &Model) -> Child {
        let mut command = self
            .host
            .command(&self.home, &model.url(), &self.entry, PROMPT);
        command.spawn().expect("a host")
    }

    /// Runs the host to its end while `user` observes the requests to its model.
    ///
    /// Returns the last request to the model.
    async fn run(&self, user: impl AsyncFnOnce(&Model)) -> Turn {
        let model = Model::start().await;
        let mut ending = pin!(self.start(&model).wait_with_output());
        tokio::select! {
            biased;
            () = user(&model) => {}
            output = &mut ending => {
                let output = output_text(&output.expect("its end"));
                panic!("{:?} ended too soon: {output}", self.host)
            }
        }
        let output = within("its end", ending).await.expect("its end");
        let output_text = output_text(&output);
        assert!(output.status.success(), "{:?}: {output_text}", self.host);
        assert!(
            output_text.contains(LAST_WORDS),
            "{:?}: {output_text}",
            self.host
        );
        model.last_turn()
    }
}

/// Returns the exit status and all output of a host.
fn output_text(output: &Output) -> String {
    let [output_text, problems] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{output_text}\n{problems}", output.status)
}
