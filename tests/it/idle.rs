//! Servers close idle connections, Node.js after five seconds. A call at that moment must not be
//! lost: the bridge does not reuse a connection that its server is about to close, and mostly
//! closes it first.

use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{
    clients::node,
    harness::{bridge::Bridge, recording_proxy::RecordingProxy, shim::Shim, until, within},
};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/idle-server.mjs");

#[tokio::test(flavor = "multi_thread")]
async fn call_while_node_closes_idle_connection_is_answered() {
    let mut server = Command::new(node())
        .arg(SERVER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Node.js");
    let mut told = server.stdin.take().expect("its input");
    let mut says = BufReader::new(server.stdout.take().expect("its output")).lines();
    let line = within("a server that listens", says.next_line()).await;
    let line = line.expect("its output").expect("a line");
    let port = line.strip_prefix("listens on ").expect("a port");
    let port: u16 = port.parse().expect("a port");

    let proxy = RecordingProxy::open().await;
    proxy.forward_to(Some(([127, 0, 0, 1], port).into()));
    let folder = TempDir::new().expect("a temporary folder");
    let url = format!("http://{}/mcp", proxy.address());
    let config = format!("[bridge]\nport = 0\n[servers.idle]\nurl = \"{url}\"\n");
    let bridge = Bridge::configured(folder.path(), &config);
    let mut host = Shim::connect(&bridge, "idle").await;
    assert_eq!(count(&mut host, 0).await, "0");
    assert!(
        proxy.responses().concat().contains("Keep-Alive: timeout=1"),
        "Node.js announces its timeout"
    );

    for number in 1..=2 {
        let line = within("the end of its connection", says.next_line()).await;
        match line.expect("its output").as_deref() {
            Some("closed") => {
                assert_eq!(count(&mut host, number).await, number.to_string());
            }
            Some("closes") => {
                let params = json!({ "name": "count", "arguments": { "number": number } });
                let waiting = host.send_request("tools/call", params).await;
                // The server reads nothing until the call has reached its proxy.
                let call = format!("\"number\":{number}");
                until("the call at the proxy", async || {
                    proxy.requests().concat().contains(&call).then_some(())
                })
                .await;
                told.write_all(b".").await.expect("a server that waits");
                let answer = host.response(waiting).await;
                let text = answer["result"]["content"][0]["text"].as_str();
                assert_eq!(text, Some(number.to_string().as_str()), "{answer}");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn count(host: &mut Shim, number: u32) -> String {
    let counted = host.call("count", json!({ "number": number })).await;
    counted.expect("a number")
}
