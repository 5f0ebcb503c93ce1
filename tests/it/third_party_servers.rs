//! Third-party servers behind the bridge: the reference servers, over their own transports and
//! through supergateway, one on the Python SDK and one on FastMCP. A third-party client must
//! receive the same messages with the bridge and without it.

use std::{net::SocketAddr, process::Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    clients::{node, run, tools},
    harness::{bridge::Bridge, free_port, program, shim, until},
};

const WALK: &str = include_str!("../clients/walk.mjs");
const SMALL_SERVER: &str = include_str!("../clients/small_server.py");
const FAST_SERVER: &str = include_str!("../clients/fast_server.py");
/// Makes these servers listen on loopback only.
const LOOPBACK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/loopback.cjs");

/// The transport of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Http,
    Sse,
}

/// A third-party server in a process of its own, and a bridge that knows it. Both stop when it is
/// dropped.
struct Setup {
    address: SocketAddr,
    transport: Transport,
    bridge: Bridge,
    folder: TempDir,
    _server: Child,
}

impl Setup {
    /// Starts `command` with a folder and a port, and waits until it listens.
    async fn start(transport: Transport, command: impl FnOnce(&TempDir, u16) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port().await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = command(&folder, port)
            .current_dir(tools().join("clients/node"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("a server; hint: `cargo xtask tools` installs it");
        let path = match transport {
            Transport::Http => "mcp",
            Transport::Sse => "sse",
        };
        let url = format!("http://{address}/{path}");
        let config = format!("[bridge]\nport = 0\n[servers.other]\nurl = \"{url}\"\n");
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start().await;
        until("a server that listens", async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            address,
            transport,
            bridge,
            folder,
            _server: server,
        }
    }

    /// Sends the requests directly and over each transport, and compares the results. Returns them.
    async fn check(&self, requests: &Value) -> Value {
        let state = self.bridge.state().await;
        let http = state.servers[0].endpoint.clone().expect("a URL");
        let sse = state.servers[0].sse_endpoint.clone().expect("a URL");
        let stdio: Vec<String> = [program::postern().display().to_string()]
            .into_iter()
            .chain(shim::arguments("other", self.bridge.root()))
            .collect();
        let direct = match self.transport {
            Transport::Http => ("http", vec![format!("http://{}/mcp", self.address)]),
            Transport::Sse => ("sse", vec![format!("http://{}/sse", self.address)]),
        };
        let same_era = match self.transport {
            Transport::Http => ("http", vec![http]),
            Transport::Sse => ("sse", vec![sse]),
        };
        let heard = self.walk(requests, direct.0, &direct.1).await;
        for (transport, target) in [("stdio", stdio), same_era] {
            let through = self.walk(requests, transport, &target).await;
            let (one, other) = (all(&heard), all(&through));
            for (direct, through) in one.iter().zip(other) {
                assert_eq!(through, direct, "{transport}");
            }
            assert_eq!(through, heard, "{transport}");
        }
        heard
    }

    async fn walk(&self, requests: &Value, transport: &str, target: &[String]) -> Value {
        let mut command = Command::new(node());
        command
            .args(["--input-type=module", "--eval", WALK])
            .args([&requests.to_string(), transport])
            .args(target);
        run(&self.bridge, command).await
    }
}

/// Returns the responses to the requests of this method, in order.
fn answers<'a>(heard: &'a Value, method: &str) -> Vec<&'a Value> {
    let all = all(heard).iter();
    all.filter(|answer| answer[0] == method).collect()
}

fn all(heard: &Value) -> &[Value] {
    heard["answers"].as_array().expect("answers")
}

fn everything(mode: &str, port: u16) -> Command {
    let mut command = Command::new(node());
    command
        .args(["--require", LOOPBACK])
        .arg("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
        .arg(mode)
        .env("PORT", port.to_string());
    command
}

fn python(server: &str, port: u16) -> Command {
    let mut command = Command::new(tools().join("clients/python/bin/python"));
    command.args(["-c", server, &port.to_string()]);
    command
}

/// Returns the reference server for files, which uses stdio, behind supergateway.
fn files(folder: &TempDir, arguments: &[&str], port: u16) -> Command {
    std::fs::write(folder.path().join("π.txt"), "3.14\r\nline two").expect("a file");
    let server = "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";
    let stdio = format!(
        "{} {server} {}",
        node().display(),
        folder.path().canonicalize().expect("a folder").display()
    );
    let mut command = Command::new(node());
    command
        .args(["--require", LOOPBACK, "node_modules/.bin/supergateway"])
        .args(["--logLevel", "none", "--port", &port.to_string()])
        .args(["--stdio", &stdio])
        .args(arguments);
    command
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!(["tools/call", { "name": tool, "arguments": arguments }])
}

/// Requests of every kind for the reference server whose results are the same every time.
fn of_everything() -> Value {
    let document = json!({ "uri": "demo://resource/static/document/features.md" });
    json!([
        ["ping", {}],
        ["tools/list", {}],
        ["resources/list", {}],
        ["resources/templates/list", {}],
        ["prompts/list", {}],
        ["resources/read", document],
        ["resources/subscribe", document],
        ["logging/setLevel", { "level": "error" }],
        ["prompts/get", { "name": "args-prompt", "arguments": { "city": "Zürich" } }],
        ["completion/complete", {
            "ref": { "type": "ref/prompt", "name": "completable-prompt" },
            "argument": { "name": "department", "value": "E" },
        }],
        call("echo", &json!({ "message": "\u{2028} π \u{1f600}" })),
        call("get-sum", &json!({ "a": 0.1, "b": 1e21 })),
        call("get-structured-content", &json!({ "location": "Chicago" })),
        call("get-tiny-image", &json!({})),
        call("trigger-long-running-operation", &json!({ "duration": 0.4, "steps": 4 })),
        call("trigger-sampling-request", &json!({ "prompt": "π?", "maxTokens": 7 })),
        call("trigger-elicitation-request", &json!({})),
        call("no-such-tool", &json!({})),
        ["no/such/method", {}],
    ])
}

async fn check_everything(transport: Transport, mode: &str) {
    let setup = Setup::start(transport, |_, port| everything(mode, port)).await;
    let heard = setup.check(&of_everything()).await;
    let calls = answers(&heard, "tools/call");
    assert_eq!(calls[4][2].as_array().map(Vec::len), Some(3), "{heard}");
    let asked: Vec<_> = heard["asked"]
        .as_array()
        .expect("questions")
        .iter()
        .collect();
    assert_eq!(asked[0]["method"], "sampling/createMessage");
    assert_eq!(asked[1]["method"], "elicitation/create");
    let unknown = answers(&heard, "no/such/method");
    assert_eq!(unknown[0][1]["code"], -32601);
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_server_over_http_is_relayed_unchanged() {
    check_everything(Transport::Http, "streamableHttp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_server_over_http_sse_is_relayed_unchanged() {
    check_everything(Transport::Sse, "sse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_server_behind_supergateway_is_relayed_unchanged() {
    let streamable = ["--outputTransport", "streamableHttp", "--stateful"];
    for (transport, arguments) in [
        (Transport::Http, &streamable[..]),
        (Transport::Sse, &["--outputTransport", "sse"]),
    ] {
        let setup = Setup::start(transport, |folder, port| files(folder, arguments, port)).await;
        let folder = setup.folder.path().canonicalize().expect("a folder");
        let file = folder.join("π.txt");
        let requests = json!([
            ["tools/list", {}],
            call("list_directory", &json!({ "path": folder })),
            call("read_text_file", &json!({ "path": file })),
            call("read_text_file", &json!({ "path": "/etc/hostname" })),
        ]);
        let heard = setup.check(&requests).await;
        let read = &answers(&heard, "tools/call")[1][1];
        assert_eq!(read["content"][0]["text"], "3.14\r\nline two", "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sdk_server_is_relayed_unchanged() {
    let setup = Setup::start(Transport::Http, |_, port| python(SMALL_SERVER, port)).await;
    let requests = json!([
        ["tools/list", {}],
        ["resources/list", {}],
        ["resources/templates/list", {}],
        ["prompts/list", {}],
        ["resources/read", { "uri": "small://fixed" }],
        ["resources/read", { "uri": "small://about/Z%C3%BCrich" }],
        ["resources/read", { "uri": "small://nothing" }],
        ["prompts/get", { "name": "greet", "arguments": { "name": "Zoë" } }],
        call("add", &json!({ "a": 1, "b": 2.5 })),
        call("count", &json!({ "to": 3 })),
        call("fail", &json!({})),
    ]);
    let heard = setup.check(&requests).await;
    let calls = answers(&heard, "tools/call");
    assert_eq!(calls[0][1]["structuredContent"]["result"], 3.5, "{heard}");
    assert_eq!(calls[1][2].as_array().map(Vec::len), Some(2), "{heard}");
    assert_eq!(calls[2][1]["isError"], true, "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fastmcp_server_is_relayed_unchanged() {
    let setup = Setup::start(Transport::Http, |_, port| python(FAST_SERVER, port)).await;
    let requests = json!([
        ["ping", {}],
        ["tools/list", {}],
        ["resources/list", {}],
        ["resources/templates/list", {}],
        ["prompts/list", {}],
        ["logging/setLevel", { "level": "info" }],
        ["resources/read", { "uri": "fast://bytes" }],
        ["resources/read", { "uri": "fast://about/Z%C3%BCrich" }],
        ["resources/read", { "uri": "fast://nothing" }],
        ["resources/subscribe", { "uri": "fast://bytes" }],
        ["prompts/get", { "name": "greet", "arguments": { "name": "Zoë" } }],
        ["prompts/get", { "name": "no-such-prompt" }],
        call("describe", &json!({ "name": "Zoë", "ages": { "π": 3 } })),
        call("describe", &json!({ "name": 4 })),
        call("count", &json!({ "to": 3 })),
        call("meet", &json!({})),
        call("fail", &json!({})),
        call("no-such-tool", &json!({})),
        ["no/such/method", {}],
    ]);
    let heard = setup.check(&requests).await;
    let calls = answers(&heard, "tools/call");
    assert_eq!(
        calls[0][1]["structuredContent"]["Zoë"][0], "π: 3",
        "{heard}"
    );
    assert_eq!(calls[2][2].as_array().map(Vec::len), Some(2), "{heard}");
    let met = &calls[3][1]["structuredContent"]["result"];
    assert_eq!(met, "accept: Zoë, True", "{heard}");
    for failed in [calls[1], calls[4], calls[5]] {
        assert_eq!(failed[1]["isError"], true, "{heard}");
    }
    assert_eq!(heard["asked"][0]["method"], "elicitation/create", "{heard}");
    let read = answers(&heard, "resources/read");
    assert!(read[0][1]["contents"][0]["blob"].is_string(), "{heard}");
    assert_eq!(read[2][1]["data"]["uri"], "fast://nothing", "{heard}");
    let unknown = answers(&heard, "no/such/method");
    assert_eq!(unknown[0][1]["code"], -32601, "{heard}");
}
