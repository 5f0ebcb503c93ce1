//! Event streams from the backends: what passes, and what ends them.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio_stream::StreamExt as _;

use super::browser::Browser;
use super::world::{MESSAGE, World};

#[tokio::test]
async fn g10_d34_legacy_sse_works_through_the_gateway() {
    let world = World::start().await;
    let (client, tokens) = world.session().await;
    for prefix in ["/mcp", "/snippets"] {
        let answer = world.open(&format!("{prefix}/sse"), &tokens.access).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        assert_eq!(world.backend.last().headers["accept-encoding"], "identity");
        let mut stream = answer.bytes_stream();
        let backend = world.backend.stream();
        backend
            .send(Bytes::from(
                "event: endpoint\ndata: /message?s=secret-7\n\n",
            ))
            .await
            .unwrap();
        let event = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        let path = event
            .strip_prefix("event: endpoint\ndata: ")
            .unwrap()
            .trim_end();
        assert!(
            path.starts_with(&format!("{prefix}/message?sessionId=")) && !path.contains("secret-7"),
            "{path}"
        );
        let answer = world.mcp(path, &tokens.access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(world.backend.last().uri, "/message?s=secret-7");
        assert_eq!(world.backend.last().body, MESSAGE);
        backend
            .send(Bytes::from("event: message\ndata: {}\n\n"))
            .await
            .unwrap();
        assert_eq!(
            stream.next().await.unwrap().unwrap(),
            "event: message\ndata: {}\n\n"
        );
        world.provider.sign_in_as("bob");
        let bob = client.sign_in(&Browser::new()).await;
        world.provider.sign_in_as("ada");
        assert_eq!(
            world.mcp(path, &bob.access).send().await.unwrap().status(),
            StatusCode::NOT_FOUND,
            "T65"
        );
    }
    for path in [
        "/mcp/message",
        "/mcp/message?sessionId=x",
        "/mcp/message?s=secret-7",
    ] {
        assert_eq!(
            world
                .mcp(path, &tokens.access)
                .send()
                .await
                .unwrap()
                .status(),
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn t66_an_endpoint_elsewhere_cuts_the_stream() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp/sse", &tokens.access).await;
    let evil = "event: endpoint\ndata: https://evil.example/message\n\n";
    world
        .backend
        .stream()
        .send(Bytes::from(evil))
        .await
        .unwrap();
    assert!(answer.text().await.is_err());
}

#[tokio::test]
async fn t66_a_compressed_stream_does_not_hide_its_endpoint() {
    let world =
        World::start_with(|text| text.replace("{backend}/sse", "{backend}/compressed")).await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp/sse", &tokens.access).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(!answer.text().await.unwrap().contains("evil"));
}

#[tokio::test]
async fn t69_streams_flow_both_ways_and_end_with_the_caller() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp", &tokens.access).await;
    let backend = world.backend.stream();
    let mut stream = answer.bytes_stream();
    for chunk in [": ping\n", "data: 1\n", "\n"] {
        backend.send(Bytes::from(chunk)).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), chunk, "each at once");
    }
    drop(stream);
    let gone = tokio::time::timeout(Duration::from_secs(1), backend.closed()).await;
    gone.expect("the backend's stream is closed within a second");
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp", &tokens.access).await;
    let backend = world.backend.stream();
    world
        .post_form("/revoke", &[("token", &tokens.access)])
        .await;
    backend.closed().await;
    assert!(answer.text().await.is_err());
}

#[tokio::test]
async fn a_stream_ends_with_its_session_however_old_it_is() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp", &tokens.access).await;
    world.pass(Duration::from_secs(601)).await;
    // The store answers in order: what housekeeping asked of it is done after this.
    world.client().await;
    let backend = world.backend.stream();
    world
        .post_form("/revoke", &[("token", &tokens.refresh)])
        .await;
    backend.closed().await;
    assert!(answer.text().await.is_err());
}

#[tokio::test]
async fn a_stream_ends_with_the_key_it_was_opened_with() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp", &tokens.access).await;
    let backend = world.backend.stream();
    let mut stream = answer.bytes_stream();
    world.pass(Duration::from_secs(3590)).await;
    backend.send(Bytes::from("data: 1\n\n")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "data: 1\n\n");
    world.pass(Duration::from_secs(11)).await;
    backend.closed().await;
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_stream_ends_when_the_gateway_does() {
    let mut world = World::start().await;
    let tokens = world.session().await.1;
    let answer = world.open("/mcp", &tokens.access).await;
    world.stop().await;
    assert!(answer.text().await.is_err());
}
