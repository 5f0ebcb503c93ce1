//! File descriptors: a burst leaks none, and one server or host cannot use all of them.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::harness::{
    bridge::Bridge,
    program,
    relay::Relay,
    shim::Shim,
    until,
    upstream::{Fault, Upstream},
    wire::Streamable,
    within,
};

/// How many more descriptors a bridge may have after a burst: a few idle connections.
const MAX_LEFT: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_fall_within_seconds_after_parallel_calls() {
    const CALLS: usize = 400;
    let relay = Relay::start().await;
    let process = relay.bridge.process().await;
    let mut shim = Shim::connect(&relay.bridge, "raw").await;
    let before = program::descriptors(process).len();
    let mut calls = BTreeSet::new();
    for key in 0..CALLS {
        let arguments = arguments(&key.to_string(), Fault::NONE);
        let params = json!({ "name": "echo", "arguments": arguments });
        calls.insert(shim.send_request("tools/call", params).await);
    }
    while !calls.is_empty() {
        let message = shim.next().await;
        assert!(calls.remove(&message["id"].as_u64().expect("an answer")));
    }
    let falls = until("descriptors that fall", async || {
        let open = program::descriptors(process).len();
        (open <= before + MAX_LEFT).then_some(())
    });
    let falls = tokio::time::timeout(Duration::from_secs(10), falls).await;
    let open = program::descriptors(process).len();
    assert!(falls.is_ok(), "{open} open, {before} before");
}

/// Two servers, `raw` and `other`, and a bridge with a limit of 256 descriptors.
struct Limited {
    raw: Upstream,
    _other: Upstream,
    bridge: Bridge,
    _folder: TempDir,
}

impl Limited {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let (raw, other) = (Upstream::start().await, Upstream::start().await);
        let config = format!(
            "{}[servers.other]\nurl = \"{}\"\n",
            raw.config(),
            other.url()
        );
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start_after("ulimit -n 256").await;
        Self {
            raw,
            _other: other,
            bridge,
            _folder: folder,
        }
    }
}

fn arguments(key: &str, fault: Fault) -> Value {
    json!({ "key": key, "fault": fault })
}

async fn echo(shim: &mut Shim, key: &str) {
    let call = shim.call("echo", arguments(key, Fault::NONE));
    let answer = within("an answer", call).await;
    assert_eq!(answer.expect("no error"), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_connections_block_no_host_or_command() {
    let Limited { bridge, .. } = &Limited::start().await;
    let url = bridge.state().await.bridge.http.expect("an address");
    let address = url.strip_prefix("http://").expect("a URL");
    let mut early = Shim::connect(bridge, "raw").await;
    let stalled = (0..300).map(async |number| {
        // The system's accept queue may be full at first.
        let mut connection = TcpStream::connect(address).await.ok()?;
        let begun = ["", "POST /raw/mcp HTTP/1.1\r\nhost: localhost\r\n"][number % 2];
        // Some connections are closed meanwhile to admit others.
        let _ = connection.write_all(begun.as_bytes()).await;
        Some(connection)
    });
    let stalled = within("connections", join_all(stalled)).await;
    assert!(stalled.iter().flatten().count() > 250);
    echo(&mut early, "early").await;
    let mut late = Shim::connect(bridge, "raw").await;
    echo(&mut late, "late").await;
    assert!(bridge.run(&["status"]).await.contains("raw"));
    // Hosts over HTTP can connect too.
    let mut http = Streamable::connect(&format!("{url}/raw/mcp"), HeaderMap::new()).await;
    let answer = http.call("echo", arguments("http", Fault::NONE)).await;
    assert_eq!(answer.expect("no error"), "http");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_calls_block_no_other_server_or_host() {
    let Limited { bridge, raw, .. } = &Limited::start().await;
    let mut hanging = Shim::connect(bridge, "raw").await;
    for key in 0..300 {
        let arguments = arguments(&key.to_string(), Fault::Silence);
        let params = json!({ "name": "echo", "arguments": arguments });
        hanging.send_request("tools/call", params).await;
    }
    raw.until("calls that hang", |seen| seen.held >= 16).await;
    let mut other = Shim::connect(bridge, "other").await;
    echo(&mut other, "other").await;
    assert!(bridge.run(&["status"]).await.contains("other"));
    let process = bridge.process().await;
    let open = program::descriptors(process).len();
    assert!(open < 160, "{open} open");
}
