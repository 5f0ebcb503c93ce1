//! A host of one era and a server of the other.

pub(crate) mod servers;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::bridge::{Bridge, Host};
use servers::Server;

fn legacy(id: i64, tool: &str) -> Value {
    let params = json!({ "name": tool, "_meta": { "progressToken": "p" } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

fn modern(id: i64, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    params["_meta"]["progressToken"] = json!("p");
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn call(id: i64, tool: &str) -> Value {
    modern(id, "tools/call", json!({ "name": tool }))
}

/// The same call with the input that its result requested.
fn answered(id: i64, asked: &Value) -> Value {
    let name = asked["inputRequests"].as_object().unwrap().keys().next();
    let accepted = json!({ "action": "accept", "content": { "name": "Ada" } });
    let params = json!({
        "name": "ask",
        "requestState": asked["requestState"],
        "inputResponses": { (name.unwrap()): accepted },
    });
    modern(id, "tools/call", params)
}

async fn shaken(bridge: &Bridge) -> (Host, Value) {
    let mut host = bridge.host("one").await;
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": { "elicitation": {} }, "clientInfo": info });
    let answer = host.request(0, "initialize", params).await;
    host.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    (host, answer)
}

#[tokio::test]
async fn legacy_host_uses_modern_server() {
    let server = Server::modern().await;
    let bridge = Bridge::start(&server.url).await;
    let (mut host, initialized) = shaken(&bridge).await;
    assert_eq!(initialized["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(initialized["result"]["serverInfo"]["name"], "real");
    let list = host.request(1, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"][0]["x-odd"], 1.5);

    host.send(&legacy(2, "ask").to_string()).await;
    let question = host.value().await;
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["message"], "name?");
    let accepted = json!({ "action": "accept", "content": { "name": "Ada" } });
    let given = json!({ "jsonrpc": "2.0", "id": question["id"], "result": accepted });
    host.send(&given.to_string()).await;
    let answer = host.answer(2, &mut Vec::new()).await;
    assert_eq!(answer["result"]["content"][0]["text"], "Hello, Ada!");

    host.send(&legacy(3, "slow").to_string()).await;
    let progress = host.value().await;
    assert_eq!(progress["method"], "notifications/progress");
    assert_eq!(progress["params"]["progressToken"], "p");
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 } });
    host.send(&cancel.to_string()).await;
    server.record.cancelled(1).await;

    server.record.listened().await;
    host.send(&legacy(4, "change").to_string()).await;
    let mut told = Vec::new();
    host.answer(4, &mut told).await;
    if told.is_empty() {
        told.push(host.value().await);
    }
    let changed = "notifications/tools/list_changed";
    assert_eq!(
        told,
        [json!({ "jsonrpc": "2.0", "method": changed, "params": {} })]
    );
    assert!(host.end().await);

    let (_host, again) = shaken(&bridge).await;
    assert_eq!(again["result"]["serverInfo"]["name"], "real");
    assert_eq!(server.record.count("initialize"), 1, "the era was learned");
}

#[tokio::test]
async fn modern_host_uses_legacy_server() {
    let server = Server::legacy().await;
    let bridge = Bridge::start(&server.url).await;
    let mut host = bridge.host("one").await;
    let discover = modern(1, "server/discover", json!({}));
    host.send(&discover.to_string()).await;
    let discovered = host.answer(1, &mut Vec::new()).await;
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );
    let info = &discovered["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "real");
    host.send(&modern(2, "tools/list", json!({})).to_string())
        .await;
    let list = host.answer(2, &mut Vec::new()).await;
    assert_eq!(list["result"]["tools"][0]["x-odd"], 1.5);
    assert_eq!(list["result"]["resultType"], "complete");

    host.send(&call(3, "ask").to_string()).await;
    let asked = host.answer(3, &mut Vec::new()).await;
    assert_eq!(asked["result"]["resultType"], "input_required");
    host.send(&answered(4, &asked["result"]).to_string()).await;
    let answer = host.answer(4, &mut Vec::new()).await;
    assert_eq!(answer["result"]["content"][0]["text"], "Hello, Ada!");

    host.send(&call(5, "slow").to_string()).await;
    let progress = host.value().await;
    assert_eq!(progress["params"]["progressToken"], "p");
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
    host.send(&cancel.to_string()).await;
    server.record.cancelled(1).await;

    let filter =
        json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true } });
    host.send(&modern(6, "subscriptions/listen", filter).to_string())
        .await;
    let acknowledged = host.value().await;
    let granted = json!({ "toolsListChanged": true });
    assert_eq!(acknowledged["params"]["notifications"], granted);
    server.record.listened().await;
    host.send(&call(7, "change").to_string()).await;
    let mut told = Vec::new();
    host.answer(7, &mut told).await;
    if told.is_empty() {
        told.push(host.value().await);
    }
    assert_eq!(told[0]["method"], "notifications/tools/list_changed");
    let meta = &told[0]["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 6);
    assert!(host.end().await);
    assert_eq!(server.record.count("initialize"), 1);
}

/// Posts a message as a modern host does.
async fn post(url: &str, message: &Value) -> reqwest::Response {
    let mut request = auth::http::client([], &model::config::Proxy::None)
        .unwrap()
        .post(url)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", message["method"].as_str().unwrap());
    if let Some(name) = message["params"]["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    request.json(message).send().await.unwrap()
}

#[tokio::test]
async fn http_host_resumes_request() {
    let server = Server::legacy().await;
    let bridge = Bridge::start(&server.url).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let asked: Value = post(&url, &call(1, "ask")).await.json().await.unwrap();
    assert_eq!(asked["result"]["resultType"], "input_required");
    let again = answered(2, &asked["result"]);
    let answer: Value = post(&url, &again).await.json().await.unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "Hello, Ada!");
    assert_eq!(answer["id"], 2);
    let late: Value = post(&url, &again).await.json().await.unwrap();
    assert_eq!(late["error"]["code"], -32602, "a state is good once");
    bridge.until_state(|state| state.sessions.is_empty()).await;
    let calls = server.record.count("tools/call");
    assert_eq!(calls, 2, "one was refused, one was answered");
}

#[tokio::test]
async fn http_disconnect_cancels_request() {
    let server = Server::legacy().await;
    let bridge = Bridge::start(&server.url).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let slow = post(&url, &call(1, "slow")).await;
    let mut frames = slow.bytes_stream();
    let progress = frames.next().await.unwrap().unwrap();
    let progress = std::str::from_utf8(&progress).unwrap();
    assert!(progress.contains("notifications/progress"), "{progress}");
    drop(frames);
    server.record.cancelled(1).await;

    let filter = json!({ "notifications": { "toolsListChanged": true } });
    let listening = post(&url, &modern(2, "subscriptions/listen", filter)).await;
    let mut frames = listening.bytes_stream();
    let first = frames.next().await.unwrap().unwrap();
    assert!(
        std::str::from_utf8(&first)
            .unwrap()
            .contains("acknowledged")
    );
    server.record.listened().await;
    post(&url, &call(3, "change")).await;
    let changed = frames.next().await.unwrap().unwrap();
    assert!(
        std::str::from_utf8(&changed)
            .unwrap()
            .contains("list_changed")
    );
    drop(frames);
    bridge.until_state(|state| state.sessions.is_empty()).await;
}
