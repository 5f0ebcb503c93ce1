//! Streamable HTTP sessions: their beginning, the order of messages, their end.

use std::time::Duration;

use http::Method;
use mcp::Message;
use mcp::upstream::UpstreamError;
use model::config::Transport;

use crate::server::{Host, Server, request, text};

#[tokio::test]
async fn session_and_version_are_sent_after_handshake() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp?a=b", Transport::Http);
    host.send_as(&request(0, "initialize"), "Bearer one");
    let call = server.call().await;
    assert_eq!(
        (&call.method, call.path.as_str()),
        (&Method::POST, "/mcp?a=b")
    );
    assert_eq!(
        call.header("accept"),
        Some("application/json, text/event-stream")
    );
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("authorization"), Some("Bearer one"));
    assert_eq!(call.header("x-key"), Some("k"));
    assert!(call.header("user-agent").unwrap().starts_with("postern/"));
    assert_eq!(call.header("accept-encoding"), None);
    assert_eq!(
        (
            call.header("mcp-session-id"),
            call.header("mcp-protocol-version")
        ),
        (None, None)
    );
    call.initialized("s-1");
    assert_eq!(host.message().await.id().unwrap().as_json(), "0");

    host.send_as(&request(1, "tools/list"), "Bearer two");
    let call = server.call().await;
    assert_eq!(call.header("authorization"), Some("Bearer two"));
    assert_eq!(call.header("mcp-session-id"), Some("s-1"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(call.header("mcp-method"), None);
}

#[tokio::test]
async fn later_messages_wait_for_handshake_but_responses_do_not() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&request(0, "initialize"));
    host.send(&Message::notification("notifications/initialized", None));
    host.send(&request(1, "tools/list"));
    let initialize = server.call().await;
    assert!(initialize.is("initialize"));

    let events = initialize.events();
    events.message(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
    assert_eq!(host.message().await.method(), Some("ping"));
    host.send(&text(r#"{"jsonrpc":"2.0","id":"p","result":{}}"#));
    let pong = server.call().await;
    assert!(pong.message().result().is_some());
    pong.status(202);
    assert!(server.is_idle());

    events.message(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#);
    assert_eq!(host.message().await.id().unwrap().as_json(), "0");
    let initialized = server.call().await;
    assert!(initialized.is("notifications/initialized"));
    assert!(server.is_idle());
    initialized.status(202);
    let list = server.call().await;
    assert!(list.is("tools/list"));
    assert_eq!(list.header("mcp-protocol-version"), Some("2025-11-25"));
}

#[tokio::test]
async fn failed_handshake_opens_gate() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(0, "initialize"));
    host.send(&request(1, "tools/list"));
    server.call().await.status(401);
    assert!(matches!(
        host.failure(Some(0)).await,
        UpstreamError::Unauthorized { .. }
    ));
    server.call().await.result("{}");
    assert_eq!(host.message().await.id().unwrap().as_json(), "1");
}

#[tokio::test]
async fn new_handshake_begins_new_session() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let slow = server.call().await;

    host.send(&request(2, "initialize"));
    let call = server.call().await;
    assert_eq!(call.header("mcp-session-id"), None);
    call.initialized("s-2");
    host.message().await;
    host.send(&request(3, "tools/list"));
    let list = server.call().await;
    assert_eq!(list.header("mcp-session-id"), Some("s-2"));

    slow.result("{}");
    assert_eq!(
        host.message().await.id().unwrap().as_json(),
        "1",
        "its answer had a way of its own"
    );
    let end = server.call_by(Method::DELETE).await;
    assert_eq!(end.header("mcp-session-id"), Some("s"));
}

#[tokio::test]
async fn abandoned_handshake_fails_once() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(0, "initialize"));
    let first = server.call().await;
    host.upstream.reset();
    assert!(matches!(
        host.failure(Some(0)).await,
        UpstreamError::StreamEnded
    ));
    first.gone().await;
    host.send(&request(0, "initialize"));
    server.call().await.initialized("s");
    assert!(host.message().await.result().is_some());
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn lost_session_differs_from_wrong_url() {
    let (mut host, mut server) = Host::ready().await;
    let no_session = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID"}}"#;
    let server_error = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}"#;
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"unknown"}}"#;
    for (status, body, gone) in [
        (404, "not found", true),
        (404, server_error, true),
        (400, no_session, true),
        (400, server_error, true),
        (
            400,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse"}}"#,
            false,
        ),
        (500, no_session, false),
    ] {
        host.send(&request(1, "tools/list"));
        server.call().await.refuse(status, "application/json", body);
        match host.failure(Some(1)).await {
            UpstreamError::SessionGone { .. } => assert!(gone, "{status} {body}"),
            UpstreamError::Rejected { status: got, body } => {
                assert!(!gone && got == status && body.is_some());
            }
            other => panic!("{other}"),
        }
    }
    host.send(&request(1, "x/new"));
    server.call().await.refuse(404, "application/json", unknown);
    assert_eq!(
        host.message().await.bytes(),
        unknown,
        "an answer, not an end"
    );

    host.upstream.reset();
    host.send(&request(1, "tools/list"));
    let call = server.call().await;
    assert_eq!(call.header("mcp-session-id"), None);
    call.refuse(404, "text/html", "<html>");
    let failure = host.failure(Some(1)).await;
    assert!(
        matches!(
            failure,
            UpstreamError::Rejected {
                status: 404,
                body: None
            }
        ),
        "{failure}"
    );
}

#[tokio::test]
async fn unaccepted_initialized_delays_messages_briefly() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(0, "initialize"));
    server.call().await.initialized("s");
    host.message().await;
    host.send(&Message::notification("notifications/initialized", None));
    let greeting = server.call().await;
    host.send(&request(1, "tools/list"));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(server.is_idle());
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    let call = server.call().await;
    assert!(call.is("tools/list"));
    call.result("{}");
    assert!(host.message().await.result().is_some());
    greeting.status(202);
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn late_error_names_its_session() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let late = server.call().await;
    host.send(&request(2, "tools/call"));
    server.call().await.status(404);
    let UpstreamError::SessionGone { generation } = host.failure(Some(2)).await else {
        panic!()
    };
    assert!(host.upstream.is_current(generation));
    host.upstream.reset();
    host.send(&request(0, "initialize"));
    server.call().await.initialized("s-2");
    host.message().await;
    late.status(404);
    let UpstreamError::SessionGone { generation } = host.failure(Some(1)).await else {
        panic!()
    };
    assert!(!host.upstream.is_current(generation));
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn close_deletes_session_and_ends_tasks() {
    let (host, mut server) = Host::ready().await;
    host.send_as(&request(1, "tools/call"), "Bearer late");
    let events = server.call().await.events();
    let closing = tokio::spawn(host.end());
    events.gone().await;
    let call = server.call().await;
    assert_eq!(call.method, Method::DELETE);
    assert_eq!(call.header("mcp-session-id"), Some("s"));
    assert_eq!(call.header("authorization"), Some("Bearer late"));
    call.status(204);
    closing.await.unwrap();
}

#[tokio::test]
async fn drop_ends_tasks_and_sends_nothing() {
    let (host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let events = server.call().await.events();
    drop(host);
    events.gone().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn waiting_messages_move_to_next_session() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&request(0, "initialize"));
    host.send(&request(1, "tools/list"));
    let first = server.call().await;
    host.send(&request(2, "initialize"));
    first.gone().await;
    assert!(matches!(
        host.failure(Some(0)).await,
        UpstreamError::StreamEnded
    ));
    server.call().await.initialized("s-2");
    host.message().await;
    let call = server.call().await;
    assert!(call.is("tools/list"));
    assert_eq!(call.header("mcp-session-id"), Some("s-2"));
}
