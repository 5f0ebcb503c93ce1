//! JSON-RPC batches (2025-03-26) in both directions through the real shim and bridge.

use serde_json::{Value, json};

use crate::harness::{
    bridge::Bridge,
    events::{self, EventServer},
    shim::Shim,
};

/// Answers each call with a batch of a notification and the response, and keeps the stream open.
fn answers_in_arrays(message: &Value) -> Vec<String> {
    if message["method"] != "tools/call" {
        return Vec::new();
    }
    let remark = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
    let answer = events::answer(message, "done");
    vec![format!("[{remark}, {answer}]")]
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_requests_get_separate_responses() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = EventServer::start(answers_in_arrays).await;
    let servers = [server.http_config("http"), server.sse_config("sse")].concat();
    let bridge = Bridge::configured(folder.path(), &format!("[bridge]\nport = 0\n{servers}"));
    bridge.start().await;
    for name in ["http", "sse"] {
        let mut shim = Shim::connect(&bridge, name).await;
        let call = |id: u64| {
            let params = json!({ "name": "x", "arguments": {} });
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
        };
        shim.send(&json!([call(101), 7, call(102)])).await;
        let mut answered = Vec::new();
        let mut remarks = 0;
        while answered.len() < 3 {
            let message = shim.next().await;
            match message.get("method") {
                Some(_) => remarks += 1,
                None => answered.push(message),
            }
        }
        answered.sort_by_key(|answer| answer["id"].as_u64());
        let ids: Vec<_> = answered.iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [Value::Null, json!(101), json!(102)], "{name}");
        assert_eq!(answered[0]["error"]["code"], -32600, "{name}");
        assert_eq!(
            answered[2]["result"]["content"][0]["text"], "done",
            "{name}"
        );
        assert_eq!(remarks, 2, "{name}");
        // No request is pending.
        shim.end().await;
    }
}
