//! Servers of 2024-11-05.

use http::Method;
use mcp::Message;
use mcp::upstream::UpstreamError;
use model::config::Transport;

use crate::server::{Call, Events, Host, Server, request, text};

async fn open(server: &mut Server, endpoint: &str) -> Events {
    let call = server.call_by(Method::GET).await;
    assert_eq!(call.path, "/sse");
    assert_eq!(call.header("accept"), Some("text/event-stream"));
    let events = call.events();
    events.send(&format!("event: endpoint\ndata: {endpoint}\n\n"));
    events
}

fn answer(events: &Events, call: Call, result: &str) {
    let id = call.message().id().unwrap().clone();
    call.refuse(202, "text/plain", "Accepted");
    events.message(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
    ));
}

async fn ready(transport: Transport) -> (Host, Server, Events) {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/sse", transport);
    let events = handshake(&mut host, &mut server, transport).await;
    (host, server, events)
}

async fn handshake(host: &mut Host, server: &mut Server, transport: Transport) -> Events {
    host.send_as(&request(0, "initialize"), "Bearer t");
    if transport == Transport::Auto {
        let call = server.call().await;
        assert_eq!((&call.method, call.path.as_str()), (&Method::POST, "/sse"));
        call.status(405);
    }
    let events = open(server, "/message?sessionId=1").await;
    let call = server.call().await;
    assert_eq!(call.path, "/message?sessionId=1");
    assert_eq!(call.header("authorization"), Some("Bearer t"));
    assert!(call.is("initialize"));
    answer(&events, call, r#"{"protocolVersion":"2024-11-05"}"#);
    host.message().await;
    host.send(&Message::notification("notifications/initialized", None));
    server.call().await.status(202);
    events
}

#[tokio::test]
async fn messages_pass_both_ways_over_http_sse() {
    for transport in [Transport::Sse, Transport::Auto] {
        let (mut host, mut server, events) = ready(transport).await;
        host.send(&request(1, "tools/call"));
        host.send(&request(2, "tools/call"));
        let (first, second) = (server.call().await, server.call().await);
        events.message(r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}"#);
        let (asked, on) = host.message_on().await;
        assert_eq!((asked.method(), on), (Some("sampling/createMessage"), None));
        host.send(&text(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#));
        let call = server.call().await;
        assert!(call.message().result().is_some());
        call.status(202);
        for call in [second, first] {
            let id = call.message().id().cloned();
            answer(&events, call, "{}");
            let (message, on) = host.message_on().await;
            assert_eq!(message.id(), id.as_ref());
            assert_eq!(on, id);
        }
        host.end().await;
        events.gone().await;
        assert!(server.is_idle(), "nothing to delete");
    }
}

#[tokio::test]
async fn response_may_precede_acceptance() {
    let (mut host, mut server, events) = ready(Transport::Sse).await;
    host.send(&request(1, "tools/call"));
    let call = server.call().await;
    events.message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    host.message().await;
    call.status(500);
    host.send(&request(2, "tools/call"));
    answer(&events, server.call().await, "{}");
    assert_eq!(host.message().await.id().unwrap().as_json(), "2");
}

#[tokio::test]
async fn lost_stream_fails_requests_and_ends_session() {
    let (mut host, mut server, events) = ready(Transport::Auto).await;
    host.send(&request(1, "tools/call"));
    server.call().await.status(202);
    host.send(&request(2, "tools/call"));
    let unanswered = server.call().await;
    events.kill();
    let mut failed = Vec::new();
    for _ in 0..2 {
        match host.event().await {
            mcp::upstream::UpstreamEvent::Failed {
                request,
                failure: UpstreamError::StreamEnded,
            } => {
                failed.push(request.unwrap().as_json().to_owned());
            }
            other => panic!("{other:?}"),
        }
    }
    failed.sort();
    assert_eq!(failed, ["1", "2"]);
    assert!(matches!(
        host.failure(None).await,
        UpstreamError::SessionGone { .. }
    ));
    unanswered.gone().await;

    host.send(&request(3, "tools/call"));
    assert!(matches!(
        host.failure(Some(3)).await,
        UpstreamError::SessionGone { .. }
    ));
    assert!(server.is_idle());

    let events = handshake(&mut host, &mut server, Transport::Sse).await;
    host.send(&request(3, "tools/call"));
    answer(&events, server.call().await, "{}");
    assert_eq!(host.message().await.id().unwrap().as_json(), "3");
}

#[tokio::test]
async fn reset_fails_requests_and_closes_stream() {
    let (mut host, mut server, events) = ready(Transport::Sse).await;
    host.send(&request(1, "tools/call"));
    server.call().await.status(202);
    host.upstream.reset();
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::StreamEnded
    ));
    events.gone().await;
    host.end().await;
}

#[tokio::test]
async fn error_statuses_are_distinguished() {
    let (mut host, mut server, _events) = ready(Transport::Sse).await;
    for (status, gone) in [(404, true), (400, true), (410, true), (500, false)] {
        host.send(&request(1, "tools/call"));
        server.call().await.status(status);
        match host.failure(Some(1)).await {
            UpstreamError::SessionGone { .. } => assert!(gone, "{status}"),
            UpstreamError::Rejected { status: got, .. } => assert!(!gone && got == status),
            other => panic!("{other}"),
        }
    }
    host.send(&request(1, "tools/call"));
    server.call().await.status(401);
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::Unauthorized { .. }
    ));
}

#[tokio::test]
async fn endpoint_of_other_origin_is_rejected() {
    for (endpoint, expected) in [
        ("https://evil.example/m", "https://evil.example"),
        ("//127.0.0.1:1/m", "http://127.0.0.1:1"),
        ("http://[", "not a URL"),
    ] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/sse", Transport::Sse);
        host.send(&request(0, "initialize"));
        let events = open(&mut server, endpoint).await;
        let failure = host.failure(Some(0)).await.to_string();
        assert!(failure.contains(expected), "{failure}");
        events.gone().await;
        assert!(server.is_idle());
    }
    let mut server = Server::start().await;
    let host = Host::new(&server, "/sse", Transport::Sse);
    host.send(&request(0, "initialize"));
    let absolute = format!("{}/m", server.origin);
    let _events = open(&mut server, &absolute).await;
    assert_eq!(server.call().await.path, "/m");
}

#[tokio::test]
async fn first_error_is_returned_if_both_transports_fail() {
    for get in [405, 404, 500, 200] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/nothing", Transport::Auto);
        host.send(&request(0, "initialize"));
        server
            .call()
            .await
            .refuse(404, "text/html", "<h1>Not found</h1>");
        server.call_by(Method::GET).await.status(get);
        let failure = host.failure(Some(0)).await;
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
}

#[tokio::test]
async fn stream_may_require_sign_in() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/sse", Transport::Auto);
    host.send(&request(0, "initialize"));
    server.call().await.status(405);
    server.call_by(Method::GET).await.status(401);
    let failure = host.failure(Some(0)).await;
    assert!(
        matches!(failure, UpstreamError::Unauthorized { .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn modern_error_prevents_http_sse_attempt() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&request(0, "initialize"));
    let error = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"modern only"}}"#;
    server.call().await.refuse(400, "application/json", error);
    let discover = server.call().await;
    assert!(discover.is("server/discover"), "{discover:?}");
    discover.refuse(400, "application/json", error);
    assert_eq!(host.message().await.bytes(), error);
    assert!(server.is_idle());
}

#[tokio::test]
async fn close_cancels_requests_of_modern_host() {
    let mut server = Server::start().await;
    let host = Host::new(&server, "/sse", Transport::Sse);
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    host.send(&text(&format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"t",{meta}}}}}"#
    )));
    let events = open(&mut server, "/message?sessionId=1").await;
    let initialize = server.call().await;
    answer(&events, initialize, r#"{"protocolVersion":"2024-11-05"}"#);
    let initialized = server.call().await;
    assert!(initialized.is("notifications/initialized"));
    initialized.status(202);
    let call = server.call().await;
    let id = call.message().id().unwrap().clone();
    call.status(202);
    // Its arrival shows that the call was sent completely.
    events.message(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#);
    server.call().await.status(202);
    let ending = tokio::spawn(host.end());
    let cancelled = server.call().await;
    assert_eq!(cancelled.message().cancels(), Some(id));
    cancelled.status(202);
    ending.await.unwrap();
    events.gone().await;
}
