//! Several messages in one array (2025-03-26), from hosts on each transport.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bridge::{Bridge, TIMEOUT};
use crate::events::Events;
use crate::server::Server;

/// A call, a notification, an invalid message, a handshake, a request of a wrong version, a second
/// call. No serializer would write the parameters like this.
const ARRAY: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":1.0}},
{"jsonrpc":"2.0","method":"notifications/x"},7,{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}},
{"jsonrpc":"1.0","id":4,"method":"ping"} , {"jsonrpc":"2.0","id":"5","method":"tools/call","params":{"b":1e2}}]"#;

/// The responses to [`ARRAY`], in any order.
fn assert_answers(answers: &[String]) {
    let mut by_id = BTreeMap::new();
    for text in answers {
        let answer: Value = serde_json::from_str(text).unwrap();
        let id = answer["id"].to_string();
        by_id.insert(id, text.as_str());
    }
    assert_eq!(by_id.len(), 5, "{answers:?}");
    assert_eq!(by_id["1"], r#"{"jsonrpc":"2.0","id":1,"result":{"a":1.0}}"#);
    assert_eq!(
        by_id[r#""5""#],
        r#"{"jsonrpc":"2.0","id":"5","result":{"b":1e2}}"#
    );
    for invalid in ["null", "3", "4"] {
        assert!(by_id[invalid].contains("-32600"), "{answers:?}");
    }
}

fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}

fn initialize() -> Value {
    let info = json!({ "name": "t", "version": "1" });
    let params = json!({ "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": info });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

async fn start() -> (Server, Bridge) {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    (server, bridge)
}

fn data_of(frames: &str) -> Vec<String> {
    let data = frames
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

#[tokio::test]
async fn array_on_socket_is_answered_request_by_request() {
    let (server, bridge) = start().await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(&ARRAY.replace('\n', "")).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(String::from_utf8(host.receive().await.to_vec()).unwrap());
    }
    assert_answers(&answers);
    host.send("[]").await;
    let empty = host.value().await;
    assert_eq!(
        (&empty["id"], &empty["error"]["code"]),
        (&Value::Null, &json!(-32600))
    );
    assert_eq!(server.record.bodies("tools/call").len(), 2);
}

#[tokio::test]
async fn array_in_post_is_answered_on_one_stream() {
    let (server, bridge) = start().await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let first = client()
        .post(&url)
        .json(&initialize())
        .send()
        .await
        .unwrap();
    let session = first.headers()["mcp-session-id"].clone();
    let post = async |body: String| {
        let request = client()
            .post(&url)
            .header("mcp-session-id", &session)
            .body(body);
        let answer = tokio::time::timeout(TIMEOUT, request.send())
            .await
            .expect("an answer");
        let answer = answer.unwrap();
        let kind = answer.headers().get("content-type").cloned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    };
    let initialized = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    assert_eq!(post(initialized.to_owned()).await.0, 202);
    assert_eq!(server.record.bodies("notifications/initialized").len(), 1);
    let (status, kind, frames) = post(ARRAY.to_owned()).await;
    assert_eq!(
        (status, kind.unwrap().as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    assert_answers(&data_of(&frames));
    // One of many messages before an answer, and each answer once.
    let many: Vec<_> = (0..100)
        .map(|id| json!({ "jsonrpc": "2.0", "id": id, "method": "progress" }))
        .collect();
    let (_, _, frames) = post(json!(many).to_string()).await;
    assert_eq!(data_of(&frames).len(), 200);
    // A cancelled request has no response, and the stream still ends.
    let cancel = json!({ "requestId": 1 });
    let hang = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "hang" },
        { "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {} },
        { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel },
    ]);
    let (_, _, frames) = post(hang.to_string()).await;
    assert!(frames.contains(r#""id":2"#), "{frames}");
    let twice =
        r#"[{"jsonrpc":"2.0","id":8,"method":"ping"},{"jsonrpc":"2.0","id":8,"method":"ping"}]"#;
    let (_, _, frames) = post(twice.to_owned()).await;
    assert_eq!(frames.matches("still unanswered").count(), 1, "{frames}");
    for (body, error) in [
        ("[]", "without a message"),
        ("[7]", "not an object"),
        ("[7,{}]", "},{"),
    ] {
        let (status, _, text) = post(body.to_owned()).await;
        assert_eq!(status, 400, "{body}");
        assert!(text.contains(error) && text.contains("-32600"), "{text}");
    }
}

#[tokio::test]
async fn array_without_session_is_refused() {
    let (server, bridge) = start().await;
    let url = format!("{}/one/mcp", bridge.http().await);
    for version in ["2025-03-26", "2026-07-28"] {
        let request = client()
            .post(&url)
            .header("mcp-protocol-version", version)
            .body(ARRAY);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let error: Value = answer.json().await.unwrap();
        let text = error["error"]["message"].as_str().unwrap();
        assert!(text.contains("hint: send each on its own"), "{error}");
    }
    assert_eq!(server.record.bodies("tools/call").len(), 0);
}

#[tokio::test]
async fn array_to_sse_endpoint_is_answered_on_stream() {
    let (_server, bridge) = start().await;
    let base = bridge.http().await;
    let mut events = Events::open(client().get(format!("{base}/one/sse"))).await;
    let message = format!("{base}{}", events.next_text().await);
    let post = async |body: String| client().post(&message).body(body).send().await.unwrap();
    assert_eq!(post(initialize().to_string()).await.status(), 202);
    events.next_text().await;
    let refused = post(ARRAY.to_owned()).await;
    assert_eq!(refused.status(), 400);
    let mut answers: Vec<_> = refused
        .json::<Vec<Value>>()
        .await
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    answers.extend([events.next_text().await, events.next_text().await]);
    assert_answers(&answers);
    let calls = json!([{ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {} }]);
    assert_eq!(post(calls.to_string()).await.status(), 202);
    assert!(events.next_text().await.contains(r#""id":7"#));
}
