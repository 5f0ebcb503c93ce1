//! Responses as event streams, and concurrent requests.

use http::{HeaderValue, Method};
use mcp::upstream::{UpstreamError, UpstreamEvent};

use crate::server::{Host, request, text};

fn result(id: i64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

#[tokio::test]
async fn messages_before_response_name_their_request() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let events = server.call().await.events();
    events.send(": hello\n\nevent: ping\ndata: x\n\ndata: no message\n\n");
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
    events.message(r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}"#);
    events.message(&result(1));
    for method in [
        Some("notifications/progress"),
        Some("elicitation/create"),
        None,
    ] {
        let (message, request) = host.message_on().await;
        assert_eq!(message.method(), method);
        assert_eq!(request.unwrap().as_json(), "1");
    }
    // A stream that stays open after the response may still carry messages.
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#);
    assert_eq!(host.message().await.method(), Some("notifications/message"));
    drop(events);
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn hundreds_of_requests_are_independent() {
    let (mut host, mut server) = Host::ready().await;
    let mut calls = Vec::new();
    for id in 1..=256 {
        host.send(&request(id, "tools/call"));
        calls.push(server.call().await);
    }
    for (index, call) in calls.into_iter().enumerate().rev() {
        if index % 2 == 0 {
            call.result("{}");
        } else {
            let id = call.message().id().unwrap().as_json().parse().unwrap();
            call.events().message(&result(id));
        }
        let answered = host.message().await.id().unwrap().clone();
        assert_eq!(answered.as_json(), (index + 1).to_string());
    }
}

#[tokio::test]
async fn dead_server_fails_each_request_once() {
    let (mut host, mut server) = Host::ready().await;
    for id in [1, 2] {
        host.send(&request(id, "tools/call"));
        let events = server.call().await.events();
        events.message(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
        host.message().await;
        if id == 1 {
            events.kill()
        } else {
            drop(events)
        }
        assert!(matches!(
            host.failure(Some(id)).await,
            UpstreamError::StreamEnded
        ));
    }
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn stream_with_ids_is_resumed() {
    let (mut host, mut server) = Host::ready().await;
    host.send_as(&request(1, "tools/call"), "Bearer one");
    let events = server.call().await.events();
    events.send("id: e-1\nretry: 60\ndata:\n\n");
    events.send("id: e-2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n");
    host.message().await;
    events.kill();

    host.send_as(&request(2, "tools/call"), "Bearer two");
    let other = server.call_by(Method::POST).await;
    for _ in 0..2 {
        let call = server.call_by(Method::GET).await;
        assert_eq!(call.header("last-event-id"), Some("e-2"));
        assert_eq!(call.header("mcp-session-id"), Some("s"));
        assert_eq!(call.header("accept"), Some("text/event-stream"));
        assert_eq!(
            call.header("authorization"),
            Some("Bearer two"),
            "the newest"
        );
        call.status(503);
    }
    let events = server.call_by(Method::GET).await.events();
    events.send("id: e-3\n\n");
    drop(events);
    let call = server.call_by(Method::GET).await;
    assert_eq!(call.header("last-event-id"), Some("e-3"));
    call.events().message(&result(1));
    assert_eq!(host.message().await.id().unwrap().as_json(), "1");
    other.result("{}");
    assert_eq!(host.message().await.id().unwrap().as_json(), "2");
}

#[tokio::test]
async fn stream_of_cancelled_request_is_not_resumed() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let events = server.call().await.events();
    events.send("id: 1\nretry: 50\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n");
    host.message().await;
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    host.send(&text(cancelled));
    server.call().await.status(202);
    drop(events);
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::StreamEnded
    ));
    assert!(server.is_idle());
}

#[tokio::test]
async fn refused_resumption_ends_stream() {
    let (mut host, mut server) = Host::ready().await;
    for status in [405, 404, 403, 400] {
        host.send(&request(1, "tools/call"));
        server
            .call()
            .await
            .events()
            .send("id: 1\nretry: 50\ndata:\n\n");
        server.call_by(Method::GET).await.status(status);
        assert!(
            matches!(host.failure(Some(1)).await, UpstreamError::StreamEnded),
            "{status}"
        );
    }
    host.send(&request(1, "tools/call"));
    server
        .call()
        .await
        .events()
        .send("id: 1\nretry: 50\ndata:\n\n");
    for _ in 0..5 {
        server.call_by(Method::GET).await.status(502);
    }
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::StreamEnded
    ));
    assert!(server.is_idle());
}

#[tokio::test]
async fn stream_is_resumed_with_new_token() {
    let (mut host, mut server) = Host::ready().await;
    host.send_as(&request(1, "tools/call"), "old");
    server
        .call()
        .await
        .events()
        .send("id: 1\nretry: 50\ndata:\n\n");
    let call = server.call_by(Method::GET).await;
    assert_eq!(call.header("authorization"), Some("old"));
    call.status(401);
    assert!(matches!(
        host.event().await,
        UpstreamEvent::TokenRefused { used: Some(used), .. } if used == "old"
    ));
    host.upstream
        .authorize(Some(HeaderValue::from_static("new")));
    let call = server.call_by(Method::GET).await;
    assert_eq!(call.header("authorization"), Some("new"));
    call.events().message(&result(1));
    host.message().await;
}

#[tokio::test]
async fn response_counts_on_any_stream() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let first = server.call().await.events();
    host.send(&request(2, "tools/call"));
    let second = server.call().await.events();
    first.message(&result(2));
    let (answer, request) = host.message_on().await;
    assert_eq!(answer.id(), request.as_ref());
    assert_eq!(request.unwrap().as_json(), "2");
    second.message(&result(2));
    drop(second);
    first.message(&result(1));
    assert_eq!(host.message().await.id().unwrap().as_json(), "1");
    drop(first);
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn connection_is_reused_after_event_stream() {
    let (mut host, mut server) = Host::ready().await;
    let mut ports = std::collections::HashSet::new();
    for id in 1..=20 {
        host.send(&request(id, "tools/call"));
        let call = server.call().await;
        ports.insert(call.port.unwrap());
        let events = call.events();
        events.message(&result(id));
        drop(events);
        host.message().await;
    }
    assert!(ports.len() <= 3, "{ports:?}");
}
