//! `subscriptions/listen` of hosts that connect before the server can be asked.

use control::api::{Request, SignInWay};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{free_address, modern, signed_out};
use crate::bridge::{Bridge, Host};
use crate::eras;

/// All that a subscription can cover.
fn everything() -> Value {
    json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourceSubscriptions": ["a:b"],
    })
}

/// Subscribes as `id`, and returns the filter that is acknowledged.
async fn subscribe(host: &mut Host, id: &str) -> Value {
    let params = modern(json!({ "notifications": everything() }));
    let request =
        json!({ "jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": params });
    host.send(&request.to_string()).await;
    let first = on(host, id).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    first["params"]["notifications"].clone()
}

/// Cancels the request `id`.
async fn cancel(host: &mut Host, id: Value) {
    let params = json!({ "requestId": id });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    host.send(&cancel.to_string()).await;
}

/// The next message, which is one of the subscription `id`.
async fn on(host: &mut Host, id: &str) -> Value {
    let message = host.value().await;
    let body = match message.get("params") {
        Some(params) => params,
        None => &message["result"],
    };
    assert_eq!(
        body["_meta"]["io.modelcontextprotocol/subscriptionId"], id,
        "{message}"
    );
    message
}

async fn expect_list_changes(host: &mut Host, id: &str) {
    for list in ["tools", "prompts"] {
        let method = format!("notifications/{list}/list_changed");
        assert_eq!(on(host, id).await["method"], method);
    }
}

#[tokio::test]
async fn subscription_before_sign_in_is_acknowledged() {
    let (server, bridge) = signed_out("list_wait_seconds = 0").await;
    server.record.grant(
        json!({ "toolsListChanged": true }),
        &[
            "notifications/tools/list_changed",
            "notifications/resources/list_changed",
            "notifications/prompts/list_changed",
        ],
    );
    let mut host = bridge.host("one").await;
    let granted = subscribe(&mut host, "l").await;
    assert_eq!(
        granted,
        json!({ "toolsListChanged": true, "promptsListChanged": true })
    );
    bridge.browse().await;
    expect_list_changes(&mut host, "l").await;
    // The server's own notification. The unacknowledged one is not sent.
    expect_list_changes(&mut host, "l").await;
    let list = host.request(2, "tools/list", modern(json!({}))).await;
    assert_eq!(list["result"]["tools"][0]["name"], "echo");
    let sent = server.record.bodies("subscriptions/listen");
    let sent: Value = serde_json::from_slice(sent.last().unwrap()).unwrap();
    assert_eq!(sent["id"], "l");
    cancel(&mut host, json!("l")).await;
    server.record.hanging((1, 1)).await;
}

#[tokio::test]
async fn refused_subscription_gets_changes() {
    let (server, bridge) = signed_out("list_wait_seconds = 0").await;
    server.record.refuse_subscriptions();
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    bridge.browse().await;
    expect_list_changes(&mut host, "l").await;
    let list = host.request(2, "tools/list", modern(json!({}))).await;
    assert_eq!(
        list["result"]["tools"][0]["name"], "echo",
        "no error came in between"
    );
}

#[tokio::test]
async fn subscription_ends_gracefully_when_server_grants_more() {
    let (server, bridge) = signed_out("list_wait_seconds = 0").await;
    server.record.grant(everything(), &[]);
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    bridge.browse().await;
    expect_list_changes(&mut host, "l").await;
    let end = on(&mut host, "l").await;
    assert_eq!(end["id"], "l");
    assert_eq!(end["result"]["resultType"], "complete");
    server.record.hanging((1, 1)).await;
}

#[tokio::test]
async fn subscription_at_late_legacy_server_gets_changes() {
    let address = free_address().await;
    let bridge = Bridge::start(&format!("http://{address}/mcp")).await;
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    let listener = TcpListener::bind(address).await.unwrap();
    let server = eras::servers::Server::legacy_on(listener);
    expect_list_changes(&mut host, "l").await;
    server.record.listened().await;
    let change = modern(json!({ "name": "change" }));
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": change });
    host.send(&call.to_string()).await;
    let mut told = Vec::new();
    host.answer(2, &mut told).await;
    if told.is_empty() {
        told.push(on(&mut host, "l").await);
    }
    assert_eq!(told[0]["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn subscription_is_retried_after_temporary_failure() {
    let (server, bridge) = signed_out("list_wait_seconds = 0").await;
    server
        .record
        .break_subscription(json!({ "toolsListChanged": true }));
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    bridge.browse().await;
    expect_list_changes(&mut host, "l").await;
    assert_eq!(
        server.record.hanging_now(),
        (1, 0),
        "told after the server has acknowledged"
    );
}

#[tokio::test]
async fn open_subscription_restarts_for_next_account() {
    let (server, bridge) = signed_out("list_wait_seconds = 0").await;
    server
        .record
        .grant(json!({ "toolsListChanged": true }), &[]);
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    bridge.browse().await;
    expect_list_changes(&mut host, "l").await;
    let account = None;
    let everywhere = false;
    let sign_out = Request::SignOut {
        account,
        everywhere,
    };
    bridge.call(sign_out).await.unwrap();
    server.record.hanging((1, 1)).await;
    let server_name = "one".to_owned();
    let way = SignInWay::Local;
    let sign_in = Request::SignIn {
        server: server_name,
        way,
    };
    let (signed_in, ()) = tokio::join!(bridge.call(sign_in), bridge.browse());
    signed_in.unwrap();
    expect_list_changes(&mut host, "l").await;
    server.record.hanging((2, 1)).await;
    cancel(&mut host, json!("l")).await;
    server.record.hanging((2, 2)).await;
}

#[tokio::test]
async fn silent_server_gets_stand_in_in_modern_era() {
    // A listener that accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let bridge = Bridge::start_set("list_wait_seconds = 0", &url).await;
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    let list = host.request(2, "tools/list", modern(json!({}))).await;
    assert_eq!(list["result"]["tools"][0]["name"], "reconnect_one");
}

#[tokio::test]
async fn subscription_survives_restart_of_server() {
    let address = free_address().await;
    let bridge = Bridge::start(&format!("http://{address}/mcp")).await;
    let mut host = bridge.host("one").await;
    subscribe(&mut host, "l").await;
    for _ in 0..2 {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = crate::server::Server::on(listener).await;
        server.record.refuse_subscriptions();
        expect_list_changes(&mut host, "l").await;
        drop(server);
        let params = modern(json!({ "name": "echo" }));
        let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params });
        host.send(&call.to_string()).await;
        let failed = |state: &_| matches!(state, control::api::ServerState::Failed { .. });
        bridge.until(failed).await;
        cancel(&mut host, json!(2)).await;
    }
}
