//! The listening stream.

use std::time::Duration;

use http::{HeaderValue, Method};
use mcp::upstream::{UpstreamError, UpstreamEvent};
use model::config::Transport;

use crate::server::{Host, Server, client, request};

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[tokio::test]
async fn stream_opens_after_handshake_and_belongs_to_no_request() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&request(0, "initialize"));
    host.upstream
        .listen(Some(HeaderValue::from_static("Bearer one")));
    server.call().await.initialized("s");
    host.message().await;
    let call = server.call().await;
    assert_eq!(call.method, Method::GET);
    assert_eq!(call.header("mcp-session-id"), Some("s"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(call.header("accept"), Some("text/event-stream"));
    assert_eq!(call.header("content-type"), None);
    assert_eq!(call.header("authorization"), Some("Bearer one"));
    call.events().message(CHANGED);
    let (message, request) = host.message_on().await;
    assert_eq!(
        (message.bytes().as_ref(), request),
        (CHANGED.as_bytes(), None)
    );
}

#[tokio::test]
async fn later_messages_wait_until_stream_is_open() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    host.send(&request(1, "tools/call"));
    let call = server.call().await;
    assert_eq!(call.method, Method::GET);
    assert!(server.is_idle(), "a call before the stream");
    let events = call.events();
    let call = server.call().await;
    assert!(call.is("tools/call"), "{call:?}");
    events.message(r#"{"jsonrpc":"2.0","id":"s","method":"roots/list"}"#);
    let (asked, request) = host.message_on().await;
    assert_eq!((asked.method(), request), (Some("roots/list"), None));
    call.result("{}");
    assert!(host.message().await.result().is_some());
}

#[tokio::test]
async fn silent_stream_delays_messages_briefly() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    host.send(&request(1, "tools/list"));
    let silent = server.call_by(Method::GET).await;
    server.call_by(Method::POST).await.result("{}");
    assert!(host.message().await.result().is_some());
    silent.events().message(CHANGED);
    let (message, _) = host.message_on().await;
    assert_eq!(message.bytes().as_ref(), CHANGED.as_bytes());
}

#[tokio::test]
async fn lost_stream_is_resumed_and_reported() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    let events = server.call().await.events();
    events.send(&format!("id: 1\nretry: 50\ndata: {CHANGED}\n\n"));
    host.message().await;
    events.kill();
    let call = server.call().await;
    assert_eq!(call.header("last-event-id"), Some("1"));
    let again = call.events();
    again.message(CHANGED);
    host.message().await;
    again.kill();
    // The second server has not noticed yet that the earlier stream is closed.
    for status in [503, 409] {
        let call = server.call().await;
        assert_eq!(call.header("last-event-id"), Some("1"));
        call.status(status);
    }
    assert!(matches!(
        host.event().await,
        UpstreamEvent::StreamLost(UpstreamError::Rejected { status: 503, .. })
    ));
    let call = server.call().await;
    assert_eq!(call.header("last-event-id"), Some("1"));
    call.events().message(CHANGED);
    assert!(matches!(host.event().await, UpstreamEvent::StreamRestored));
    host.message().await;
}

#[tokio::test]
async fn wake_reopens_stream_on_another_connection() {
    let mut server = Server::start().await;
    let client = client();
    let url = format!("{}/mcp", server.origin);
    let mut host = Host::with(client.clone(), &url, Transport::Auto);
    host.handshake(&mut server, "s").await;
    host.upstream.listen(None);
    let call = server.call().await;
    let before = call.port;
    let events = call.events();
    events.send(&format!("id: 1\nretry: 50\ndata: {CHANGED}\n\n"));
    host.message().await;
    host.send(&request(1, "tools/list"));
    let idle = server.call().await;
    let ports = [before, idle.port];
    idle.result("{}");
    host.message().await;

    client.forget_connections();
    host.upstream.wake();
    events.gone().await;
    let call = server.call().await;
    assert_eq!(call.header("last-event-id"), Some("1"));
    assert!(!ports.contains(&call.port));
    call.events().message(CHANGED);
    host.message().await;
}

#[tokio::test]
async fn silent_stream_stays_open_for_one_hour() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    let listening = server.call().await.events();
    host.send(&request(1, "tools/call"));
    let answering = server.call().await.events();
    host.send(&request(2, "tools/call"));
    let waiting = server.call().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60 * 60)).await;
    tokio::time::resume();
    listening.message(CHANGED);
    host.message().await;
    answering.message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    host.message().await;
    drop(answering);
    waiting.result("{}");
    host.message().await;
    assert!(server.is_idle(), "nothing was asked for again");
}

#[tokio::test]
async fn server_without_stream_is_not_asked_again() {
    for status in [405, 404, 400, 200] {
        let (mut host, mut server) = Host::ready().await;
        host.upstream.listen(None);
        server.call().await.status(status);
        host.send(&request(1, "tools/list"));
        server.call().await.result("{}");
        host.message().await;
        assert!(server.is_idle(), "{status}");
        host.end_session(&mut server).await;
    }
}

#[tokio::test]
async fn refused_stream_is_reported_once() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    server.call().await.status(401);
    assert!(matches!(
        host.failure(None).await,
        UpstreamError::Unauthorized { .. }
    ));

    host.upstream
        .listen(Some(HeaderValue::from_static("Bearer new")));
    let call = server.call().await;
    assert_eq!(call.header("authorization"), Some("Bearer new"));
    let events = call.events();
    events.send(&format!("retry: 50\ndata: {CHANGED}\n\n"));
    host.message().await;
    drop(events);
    server.call().await.status(404);
    assert!(matches!(
        host.failure(None).await,
        UpstreamError::SessionGone { .. }
    ));
    assert!(server.is_idle());
}

#[tokio::test]
async fn second_listen_replaces_first_stream() {
    let (mut host, mut server) = Host::ready().await;
    host.upstream.listen(None);
    let first = server.call().await.events();
    host.upstream.listen(None);
    let second = server.call().await.events();
    first.gone().await;
    second.message(CHANGED);
    host.message().await;
    host.upstream.reset();
    second.gone().await;
    server.call_by(Method::DELETE).await.status(204);
    host.upstream.listen(None);
    host.send(&request(1, "tools/list"));
    assert_eq!(
        server.call().await.method,
        Method::POST,
        "without a session nothing is listened to"
    );
}
