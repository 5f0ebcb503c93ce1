//! The modern era, which has no handshake.

use mcp::upstream::UpstreamError;
use mcp::{Message, RequestId};
use model::config::Transport;
use serde_json::{Value, json};

use crate::server::{Host, Server};

fn request(id: i64, method: &str, mut params: Value) -> Message {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    Message::request(&RequestId::number(id), method, Some(params))
}

#[tokio::test]
async fn headers_repeat_body() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    for (method, params, name) in [
        ("server/discover", json!({}), None),
        ("tools/list", json!({"name": "no"}), None),
        (
            "tools/call",
            json!({"name": "get_snippet"}),
            Some("get_snippet"),
        ),
        (
            "tools/call",
            json!({"name": "späher"}),
            Some("=?base64?c3DDpGhlcg==?="),
        ),
        (
            "prompts/get",
            json!({"name": " p"}),
            Some("=?base64?IHA=?="),
        ),
        (
            "resources/read",
            json!({"uri": "test://a", "name": "no"}),
            Some("test://a"),
        ),
        ("tasks/get", json!({"taskId": "t"}), Some("t")),
    ] {
        host.send(&request(1, method, params));
        let call = server.call().await;
        assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(call.header("mcp-method"), Some(method));
        assert_eq!(call.header("mcp-name"), name, "{method}");
        assert_eq!(call.header("mcp-session-id"), None);
        call.result("{}");
        host.message().await;
    }
}

#[tokio::test]
async fn requests_need_no_session_and_no_handshake() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&crate::server::request(0, "initialize"));
    let initialize = server.call().await;
    host.send(&request(1, "tools/list", json!({})));
    server.call().await.result("{}");
    assert_eq!(host.message().await.id().unwrap().as_json(), "1");
    initialize.initialized("s");
    host.message().await;
    host.send(&request(2, "tools/list", json!({})));
    let call = server.call().await;
    assert_eq!(call.header("mcp-session-id"), None);
    call.refuse(404, "text/plain", "no");
    assert!(matches!(
        host.failure(Some(2)).await,
        UpstreamError::Rejected { status: 404, .. }
    ));
}

#[tokio::test]
async fn json_rpc_error_is_returned_as_response() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    for (status, code) in [(400, -32022), (400, -32020), (404, -32601), (403, -1)] {
        let error =
            format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"session"}}}}"#);
        host.send(&request(1, "tools/list", json!({})));
        server
            .call()
            .await
            .refuse(status, "application/json", error.clone());
        assert_eq!(host.message().await.bytes(), error.as_bytes());
    }
}

#[tokio::test]
async fn abandon_closes_stream_and_sends_nothing() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(1, "tools/call", json!({"name": "slow"})));
    let events = server.call().await.events();
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
    host.message().await;
    host.upstream.abandon(&RequestId::number(1));
    events.gone().await;

    host.send(&request(2, "tools/call", json!({"name": "slow"})));
    let call = server.call().await;
    host.upstream.abandon(&RequestId::number(2));
    call.gone().await;
    host.end().await;
}

#[tokio::test]
async fn legacy_request_can_be_abandoned_but_handshake_cannot() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&crate::server::request(0, "initialize"));
    let call = server.call().await;
    host.upstream.abandon(&RequestId::number(0));
    call.initialized("s");
    assert!(host.message().await.result().is_some());
    host.send(&crate::server::request(1, "tools/call"));
    let call = server.call().await;
    host.upstream.abandon(&RequestId::number(1));
    call.gone().await;
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn modern_streams_are_not_resumed() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(1, "subscriptions/listen", json!({})));
    let events = server.call().await.events();
    events.send("id: 1\nretry: 50\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n");
    host.message().await;
    drop(events);
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::StreamEnded
    ));
    assert!(server.is_idle());
}
