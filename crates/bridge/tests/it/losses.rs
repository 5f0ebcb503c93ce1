//! Requests while something changes under their session.

use std::time::Duration;

use control::api::{Request, ServerState};
use serde_json::json;
use tokio::net::TcpListener;

use crate::bridge::Bridge;
use crate::server::Server;

#[tokio::test]
async fn requests_with_equal_id_are_each_answered() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    for x in [1, 2] {
        let call =
            json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": { "x": x } });
        host.send(&call.to_string()).await;
    }
    let answers = [host.value().await, host.value().await];
    let of = |field: &str| answers.iter().find(|answer| answer.get(field).is_some());
    assert_eq!(of("result").unwrap()["result"]["x"], 1, "{answers:?}");
    assert_eq!(of("error").unwrap()["error"]["code"], -32600);
}

#[tokio::test]
async fn repeated_handshake_is_answered_each_time() {
    let (server, listener) = away().await;
    let bridge = Bridge::start(&server).await;
    let mut host = bridge.host("one").await;
    for id in [1, 2] {
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
        let message =
            json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": params });
        host.send(&message.to_string()).await;
    }
    let mut ids = [
        host.value().await["id"].clone(),
        host.value().await["id"].clone(),
    ];
    ids.sort_by_key(|id| id.as_i64());
    assert_eq!(ids, [1, 2]);
    drop(listener);
}

/// A server that accepts connections and sends nothing.
async fn away() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (
        format!("http://{}/mcp", listener.local_addr().unwrap()),
        listener,
    )
}

#[tokio::test]
async fn uninitialized_host_gets_only_responses() {
    let (url, listener) = away().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bridge = Bridge::start(&url).await;
    let mut host = bridge.host("one").await;
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    assert!(host.request(0, "initialize", params).await["result"].is_object());
    let server = Server::on(TcpListener::bind(address).await.unwrap()).await;
    bridge.until(|state| *state == ServerState::Ready).await;
    let mut meanwhile = Vec::new();
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
        .await;
    host.answer(1, &mut meanwhile).await;
    assert_eq!(meanwhile, [] as [serde_json::Value; 0]);
    host.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    assert_eq!(
        host.value().await["method"],
        "notifications/tools/list_changed"
    );
    host.request(2, "tools/call", json!({})).await;
    assert_eq!(server.record.bodies("notifications/initialized").len(), 1);
}

#[tokio::test]
async fn new_session_restores_settings() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    for (id, uri) in [(1, "a:1"), (2, "a:2")] {
        host.request(id, "resources/subscribe", json!({ "uri": uri }))
            .await;
    }
    host.request(3, "resources/unsubscribe", json!({ "uri": "a:1" }))
        .await;
    host.request(4, "logging/setLevel", json!({ "level": "debug" }))
        .await;
    server.record.forget_session();
    host.request(5, "tools/call", json!({})).await;
    // The settings are sent before the call, but by separate tasks. The end waits for all.
    host.request(6, "tools/call", json!({})).await;
    let subscribed = server.record.bodies("resources/subscribe");
    let of = |uri: &str| {
        let uri = format!("\"{uri}\"");
        let has = |body: &&bytes::Bytes| std::str::from_utf8(body).unwrap().contains(&uri);
        subscribed.iter().filter(has).count()
    };
    assert_eq!((of("a:1"), of("a:2")), (1, 2));
    assert_eq!(server.record.bodies("logging/setLevel").len(), 2);
}

#[tokio::test]
async fn ending_host_does_not_wait_for_cancelled_request() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#)
        .await;
    assert_eq!(host.value().await["method"], "notifications/said");
    host.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    host.request(2, "tools/call", json!({})).await;
    assert!(host.end().await);
    server.record.hanging((1, 1)).await;
    assert_eq!(server.record.bodies("notifications/cancelled").len(), 1);
}

#[tokio::test]
async fn server_losing_every_session_is_retried_with_backoff() {
    let server = Server::start().await;
    server.record.forget_each_session(true);
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    bridge
        .until(|state| matches!(state, ServerState::Failed { .. }))
        .await;
    assert_eq!(server.record.sessions().0, 2);
    server.record.forget_each_session(false);
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1);
    // After a response, the next loss is repaired at once.
    let sessions = server.record.sessions().0;
    server.record.forget_session();
    let answer = host.request(2, "tools/call", json!({ "x": 2 })).await;
    assert_eq!(answer["result"]["x"], 2);
    assert_eq!(server.record.sessions().0, sessions + 1);
}

#[tokio::test]
async fn late_session_error_keeps_new_session() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"late"}"#)
        .await;
    server.record.hanging((1, 0)).await;
    server.record.forget_session();
    host.request(2, "tools/call", json!({})).await;
    assert_eq!(server.record.sessions().0, 2);
    server.record.release();
    let answer = host.answer(1, &mut Vec::new()).await;
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(server.record.sessions().0, 2);
}

#[tokio::test]
async fn unanswered_handshake_is_retried() {
    let server = Server::start().await;
    server.record.ignore_handshake();
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    assert!(host.initialize().await["result"].is_object());
    pass(Duration::from_secs(60)).await;
    server.record.hanging((1, 1)).await;
    bridge.until(|state| *state == ServerState::Ready).await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1);
}

#[tokio::test]
async fn cancelled_request_expires() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#)
        .await;
    assert_eq!(host.value().await["method"], "notifications/said");
    host.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    host.request(2, "tools/call", json!({})).await;
    server.record.hanging((1, 0)).await;
    pass(Duration::from_secs(30)).await;
    server.record.hanging((1, 1)).await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "its id is free again");
}

#[tokio::test]
async fn session_of_unreading_host_ends() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":0,"method":"subscriptions/listen"}"#)
        .await;
    server.record.hanging((1, 0)).await;
    let text = "x".repeat(64 * 1024);
    for id in 1..=200 {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "text": text } });
        host.send(&call.to_string()).await;
    }
    host.fall_silent().await;
    // The bridge has noticed the end of the host once it closes the subscription.
    server.record.hanging((1, 1)).await;
    assert_eq!(bridge.state().await.sessions.len(), 1);
    pass(Duration::from_secs(150)).await;
    bridge.until_state(|state| state.sessions.is_empty()).await;
}

/// Advances the time without other events.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time + Duration::from_secs(1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn session_follows_config_change() {
    let (first, second) = (Server::start().await, Server::start().await);
    second.record.person("2");
    let bridge = Bridge::start(&first.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#)
        .await;
    assert_eq!(host.value().await["method"], "notifications/said");
    let config = std::fs::read_to_string(bridge.home.config_file()).unwrap();
    let moved = config.replace(&first.url(), &second.url());
    std::fs::write(bridge.home.config_file(), moved).unwrap();
    bridge.state().await;
    let mut meanwhile = Vec::new();
    let answer = host.answer(1, &mut meanwhile).await;
    assert_eq!(answer["error"]["data"]["server"], "one", "{answer}");
    first.record.hanging((1, 1)).await;
    let tools = host.request(2, "tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"][0]["name"], "echo2");
    assert_eq!(first.record.sessions(), (1, 1));

    let remove = Request::RemoveServer {
        name: "one".to_owned(),
    };
    host.send(r#"{"jsonrpc":"2.0","id":3,"method":"hang"}"#)
        .await;
    second.record.hanging((1, 0)).await;
    bridge.call(remove).await.unwrap();
    let answer = host.answer(3, &mut Vec::new()).await;
    assert_eq!(answer["error"]["code"], 1005, "{answer}");
    assert!(host.end().await);
    second.record.hanging((1, 1)).await;
}

#[tokio::test]
async fn ephemeral_server_can_be_added_and_removed() {
    let server = Server::start().await;
    let bridge = Bridge::start("http://127.0.0.1:9/mcp").await;
    let mut host = bridge.host(&server.url()).await;
    host.initialize().await;
    let name = "127-0-0-1".to_owned();
    let ephemeral = |state: &control::api::State, name: &str| {
        let found = state.servers.iter().find(|view| view.name == name);
        found.map(|view| view.ephemeral)
    };
    assert_eq!(ephemeral(&bridge.state().await, &name), Some(true));
    let add = Request::AddServer {
        allow_http: false,
        name: "kept".to_owned(),
        url: server.url(),
    };
    bridge.call(add).await.unwrap();
    let state = bridge.state().await;
    assert_eq!(ephemeral(&state, &name), None, "it is the kept one now");
    assert_eq!(ephemeral(&state, "kept"), Some(false));
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1);

    let other = bridge.host(&format!("{}?other", server.url())).await;
    assert_eq!(ephemeral(&bridge.state().await, &name), Some(true));
    bridge
        .call(Request::RemoveServer { name: name.clone() })
        .await
        .unwrap();
    assert_eq!(ephemeral(&bridge.state().await, &name), None);
    assert!(other.end().await);
}

#[tokio::test]
async fn unreading_host_does_not_delay_shutdown() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    // Far more than the buffers and the session's queue hold, without reading a line.
    let text = "x".repeat(64 * 1024);
    for id in 1..=200 {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "text": text } });
        tokio::time::timeout(crate::bridge::TIMEOUT, host.send(&call.to_string()))
            .await
            .expect("the bridge reads on");
    }
    let mut answered: Vec<_> = Vec::new();
    for _ in 1..=200 {
        answered.push(host.value().await["id"].as_i64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=200).collect::<Vec<_>>());
}
