//! Lists that change constantly, and lists that are too large to be cached.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::json;

use crate::bridge::Bridge;
use crate::server::Server;

/// Larger than the maximum of a cached list, in bytes.
const LARGE: usize = 5 << 20;

#[tokio::test]
async fn changing_list_is_written_once_per_second_and_at_end() {
    let server = Server::start().await;
    server.record.describe(1000);
    let mut bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let start = Instant::now();
    let mut writes = BTreeSet::new();
    let mut last = json!(null);
    for id in 1..=30 {
        last = host.request(id, "tools/list", json!({})).await["result"].take();
        let file = std::fs::metadata(bridge.home.seen_dir().join("one.json"));
        writes.extend(file.map(|file| file.modified().unwrap()));
    }
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    let writes = writes.len();
    assert!(writes <= seconds + 1, "{writes} writes in {seconds} s");

    drop(server);
    bridge.restart().await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let remembered = host.request(1, "tools/list", json!({})).await;
    assert_eq!(remembered["result"], last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn large_list_is_forwarded_and_cached_as_outline() {
    let server = Server::start().await;
    server.record.describe(LARGE);
    let mut bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    let mut other = bridge.host("one").await;
    host.initialize().await;
    other.initialize().await;
    for id in 1..=3 {
        let listed = host.request(id, "tools/list", json!({})).await;
        let description = &listed["result"]["tools"][0]["description"];
        assert_eq!(description.as_str().map(str::len), Some(LARGE));
        let called = other.request(id, "tools/call", json!({ "x": id })).await;
        assert_eq!(called["result"]["x"], id);
    }
    let state = bridge.state().await;
    let tool = &state.servers[0].tools.as_ref().unwrap()[0];
    assert_eq!(tool.name, "echo");
    let shown = tool.description.as_ref().unwrap();
    assert!(shown.contains("larger than the 4 MB"), "{shown}");

    drop(server);
    bridge.restart().await;
    let written = bridge.written().unwrap();
    assert!(written.len() < 10_000, "{} bytes", written.len());
    let mut host = bridge.host("one").await;
    let initialized = host.initialize().await;
    assert_eq!(initialized["result"]["serverInfo"]["name"], "real");
    let listed = host.request(1, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"][0]["name"], "reconnect_one");
}
