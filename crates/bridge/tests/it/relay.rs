//! Messages over each transport.

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::events::Events;
use crate::server::Server;

/// A call whose parameters no serializer would write like this.
const ODD: &str = r#"{"b":1.0,"a":12345678901234567890123,"name":"echo","u":"\u00e4\/","x-unknown":[null,{}],"a2":1e2}"#;

#[tokio::test]
async fn stdio_relays_bytes_unchanged() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    let first = host.initialize().await;
    assert_eq!(first["result"]["serverInfo"]["name"], "real");
    let call = format!(r#"{{"jsonrpc":"2.0","id":"odd id","method":"tools/call","params":{ODD}}}"#);
    host.send(&call).await;
    assert_eq!(
        host.receive().await,
        format!(r#"{{"jsonrpc":"2.0","id":"odd id","result":{ODD}}}"#)
    );
    assert_eq!(server.record.bodies("tools/call"), [call]);
}

#[tokio::test]
async fn unknown_method_is_passed_to_server() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let ask = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x-vendor/odd","params":{ODD}}}"#);
    host.send(&ask).await;
    let answer = host.value().await;
    let error = json!({ "code": -32601, "message": "unknown" });
    assert_eq!((&answer["id"], &answer["error"]), (&json!(1), &error));
    assert_eq!(server.record.bodies("x-vendor/odd"), [ask]);
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "and the next is answered");
}

#[tokio::test]
async fn invalid_line_is_answered_with_error() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.send("{not json").await;
    assert_eq!(host.value().await["error"]["code"], -32700);
    assert!(host.initialize().await.get("result").is_some());
}

#[tokio::test]
async fn progress_precedes_its_response() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":5,"method":"progress"}"#)
        .await;
    assert_eq!(host.value().await["method"], "notifications/progress");
    assert_eq!(host.value().await["id"], 5);
}

fn client() -> reqwest::Client {
    auth::http::client([], &model::config::Proxy::None).unwrap()
}

fn initialize() -> Value {
    let info = json!({ "name": "t", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

#[tokio::test]
async fn streamable_http_streams_notifications_before_response() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let url = format!("{}/one/mcp", bridge.http().await);
    let first = client()
        .post(&url)
        .json(&initialize())
        .send()
        .await
        .unwrap();
    let session = first.headers()["mcp-session-id"].clone();
    assert_eq!(first.headers()["content-type"], "application/json");
    let post = |body: String| {
        client()
            .post(&url)
            .header("mcp-session-id", &session)
            .body(body)
            .send()
    };
    let accepted = post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned())
        .await
        .unwrap();
    assert_eq!(accepted.status(), 202);
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ODD}}}"#);
    let answer = post(call).await.unwrap().text().await.unwrap();
    assert_eq!(
        answer,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{ODD}}}"#)
    );
    let streamed = post(r#"{"jsonrpc":"2.0","id":2,"method":"progress"}"#.to_owned())
        .await
        .unwrap();
    assert_eq!(streamed.headers()["content-type"], "text/event-stream");
    let frames = streamed.text().await.unwrap();
    assert_eq!(frames.matches("data: ").count(), 2, "{frames}");
    let gone = client()
        .delete(&url)
        .header("mcp-session-id", &session)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(post(initialize().to_string()).await.unwrap().status(), 404);
}

#[tokio::test]
async fn sse_announces_endpoint_and_streams_responses() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let base = bridge.http().await;
    let mut events = Events::open(client().get(format!("{base}/one/sse"))).await;
    let endpoint = events.next().await;
    assert_eq!(endpoint.event.as_deref(), Some("endpoint"));
    let message = format!("{base}{}", std::str::from_utf8(&endpoint.data).unwrap());
    let posted = client()
        .post(&message)
        .json(&initialize())
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 202);
    let answer: Value = serde_json::from_slice(&events.next().await.data).unwrap();
    assert_eq!(answer["result"]["serverInfo"]["name"], "real");
}

#[tokio::test]
async fn web_page_is_rejected() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let base = bridge.http().await;
    let page = client()
        .get(format!("{base}/one/sse"))
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 403);
    let rebound = client()
        .post(format!("{base}/one/mcp"))
        .header("host", "evil.example")
        .json(&initialize());
    assert_eq!(rebound.send().await.unwrap().status(), 403);
    let metadata = client()
        .get(format!("{base}/.well-known/oauth-protected-resource"))
        .send()
        .await
        .unwrap();
    assert_eq!(metadata.status(), 404);
    assert_eq!(server.record.sessions(), (0, 0));
}
