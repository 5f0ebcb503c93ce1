//! Hosts of others, signed out and then signed in: what their models are offered before,
//! during and after.
//!
//! Owns: five hosts without an account at a provider, over stdio and over HTTP. Does not own:
//! what any host may see before a sign-in, which the bridge's own cases (`first_contact`) have.

mod model;
mod program;

use std::{path::PathBuf, pin::pin, process::Output, time::Duration};

use tokio::{process::Child, time::timeout};

use model::{LAST_WORDS, Model, Turn};
use program::{Entry, Host};

use crate::harness::{Harness, bridge::Bridge, program::postern, shim, within};

/// What a user would write. The model does not read it.
const PROMPT: &str = "Say hello with snippets.";

/// The tool in place of those of the server, and one of those.
const STAND_IN: &str = "sign_in_snippets";
const REAL: &str = "hello_mcp";

/// What the real one answers.
const HELLO: &str = "Hello I am MCPTool!";

/// Where Claude Code's subscription goes without an answer, it asks its model after 25 s.
const START: Duration = Duration::from_secs(20);

/// Whether a host looks at the tools again when it is told that they changed.
#[derive(Clone, Copy, Debug)]
enum Reload {
    AtOnce,
    NextRun,
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_signs_in_by_the_stand_in_tool() {
    check(Host::ClaudeCode, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_signs_in_by_the_stand_in_tool() {
    check(Host::Codex, Reload::NextRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_cli_signs_in_by_the_stand_in_tool() {
    check(Host::GeminiCli, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_code_signs_in_by_the_stand_in_tool() {
    check(Host::QwenCode, Reload::NextRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opencode_signs_in_by_the_stand_in_tool() {
    check(Host::Opencode, Reload::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_starts_soon_while_signed_out() {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let place = Place::make(&harness, Host::ClaudeCode, transport, 1).await;
        let model = Model::start().await;
        let _running = place.start(&model);
        let first = timeout(START, model.turn(0)).await;
        assert!(first.is_ok(), "over {transport}: too late");
    }
}

async fn check(host: Host, reload: Reload) {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let what = format!("{host:?} over {transport}");
        let place = Place::make(&harness, host, transport, 1).await;
        let first = place.run(async |model| {
            let before = model.turn(0).await;
            assert!(before.offers(STAND_IN), "{what}: {before:?}");
            assert!(!before.offers(REAL), "{what}: {before:?}");
            let page = place.bridge.browser.page(0).await;
            harness.sign_in_at(&page).await;
        });
        let after = first.await;
        let told = after.results.first().expect("a result");
        assert!(told.contains("Signed in to snippets"), "{what}: {told}");
        match reload {
            Reload::AtOnce => says_hello(&what, &after),
            Reload::NextRun => {
                assert!(!after.offers(REAL), "{what} reloads after all: {after:?}");
                says_hello(&what, &place.run(async |_| {}).await);
            }
        }
        assert_eq!(place.bridge.browser.page_count(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qwen_code_gets_the_tools_first_where_the_page_is_completed() {
    let harness = Harness::start().await;
    for transport in ["stdio", "http"] {
        let place = Place::make(&harness, Host::QwenCode, transport, 50).await;
        let run = place.run(async |_| {
            let page = place.bridge.browser.page(0).await;
            // It gives up a server over HTTP after 5 s, and Chromium may take as long to start.
            place.bridge.run(&["demo-browser", &page]).await;
        });
        let last = run.await;
        says_hello(transport, &last);
        assert_eq!(last.results.len(), 1, "{transport}: {last:?}");
    }
}

/// The real tool was offered and called.
fn says_hello(what: &str, last: &Turn) {
    assert!(last.offers(REAL), "{what}: {last:?}");
    let result = last.results.last().expect("a result");
    assert!(result.contains(HELLO), "{what}: {result}");
}

/// A host whose configuration names a server that was never signed in.
struct Place {
    host: Host,
    entry: Entry,
    bridge: Bridge,
    home: PathBuf,
}

impl Place {
    /// Lists wait for a sign-in for `list_wait` seconds.
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

    /// Starts the host, which ends with this value.
    fn start(&self, model: &Model) -> Child {
        let mut command = self
            .host
            .command(&self.home, &model.url(), &self.entry, PROMPT);
        command.spawn().expect("a host")
    }

    /// Runs the host to its end, while `person` looks at what its model is asked.
    ///
    /// Returns the last request to the model.
    async fn run(&self, person: impl AsyncFnOnce(&Model)) -> Turn {
        let model = Model::start().await;
        let mut ending = pin!(self.start(&model).wait_with_output());
        tokio::select! {
            biased;
            () = person(&model) => {}
            output = &mut ending => {
                let output = told(&output.expect("its end"));
                panic!("{:?} ended too soon: {output}", self.host)
            }
        }
        let output = within("its end", ending).await.expect("its end");
        let told = told(&output);
        assert!(output.status.success(), "{:?}: {told}", self.host);
        assert!(told.contains(LAST_WORDS), "{:?}: {told}", self.host);
        model.last_turn()
    }
}

/// All that a host told its user.
fn told(output: &Output) -> String {
    let [told, problems] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{told}\n{problems}", output.status)
}
