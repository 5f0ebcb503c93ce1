//! Progress notifications on a stream that all requests share.

use serde_json::{Value, json};

use crate::harness::{
    bridge::Bridge,
    events::{self, EventServer},
    shim::Shim,
    within,
};

/// The number of notifications of one call.
const NOTIFICATIONS: u32 = 3000;

/// Sends progress of an unknown request, then the response. Answers other calls at once.
fn tells_progress(message: &Value) -> Vec<String> {
    if message["method"] != "tools/call" {
        return Vec::new();
    }
    let told = match message["params"]["name"] == "long" {
        true => NOTIFICATIONS,
        false => 0,
    };
    let progress = (0..told).map(|progress| {
        let params = json!({ "progressToken": "unknown", "progress": progress });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            .to_string()
    });
    progress.chain([events::answer(message, "done")]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_beside_long_call_does_not_delay_other_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (noisy, quiet) = tokio::join!(
        EventServer::start(tells_progress),
        EventServer::start(tells_progress)
    );
    let servers = [noisy.sse_config("noisy"), quiet.sse_config("quiet")].concat();
    let bridge = Bridge::configured(folder.path(), &format!("[bridge]\nport = 0\n{servers}"));
    bridge.start().await;
    let (mut long, mut short) = tokio::join!(
        Shim::connect(&bridge, "noisy"),
        Shim::connect(&bridge, "quiet")
    );
    let text = "x".repeat(10 << 20);
    let arguments = json!({ "name": "long", "arguments": { "text": text } });
    let call = long.send_request("tools/call", arguments).await;
    let first = long.next().await;
    assert_eq!(first["method"], "notifications/progress");
    let reading = tokio::spawn(async move {
        let answer = long.response(call).await;
        (answer, long)
    });
    // If the 10 MB were parsed again for each notification, one of these calls would take ten
    // seconds.
    let calls = async {
        for _ in 0..30 {
            short.call("echo", json!({})).await.expect("an answer");
        }
    };
    within("30 calls of the other server", calls).await;
    let (answer, long) = within("the long call", reading).await.expect("its reader");
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(long.notifications.len(), NOTIFICATIONS as usize - 1);
}
