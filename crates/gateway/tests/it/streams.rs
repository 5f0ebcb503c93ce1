//! Event streams from the backends: what is forwarded, and what ends them.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio_stream::StreamExt as _;

use super::browser::{self, Browser};
use super::world::{MESSAGE, World};

#[tokio::test]
async fn g10_d34_http_sse_works_through_gateway() {
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

/// The caller's endpoint is valid only in its session, and only for the configured backend.
#[tokio::test]
async fn message_endpoint_is_bound_to_session_and_backend() {
    let mut world = World::start().await;
    let (access, path, other) = {
        let (client, tokens) = world.session().await;
        let answer = world.open("/mcp/sse", &tokens.access).await;
        let mut stream = answer.bytes_stream();
        let announcement = Bytes::from("event: endpoint\ndata: /message?s=7\n\n");
        world.backend.stream().send(announcement).await.unwrap();
        let event = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
        let path = event.strip_prefix("event: endpoint\ndata: ").unwrap();
        let other = client.sign_in(&Browser::new()).await;
        (tokens.access, path.trim_end().to_owned(), other.access)
    };
    let status = async |world: &World, token: &str| {
        let answer = world.mcp(&path, token).send().await.unwrap();
        answer.status()
    };
    assert_eq!(status(&world, &access).await, StatusCode::OK);
    assert_eq!(status(&world, &other).await, StatusCode::NOT_FOUND);
    world.restart().await;
    assert_eq!(status(&world, &access).await, StatusCode::OK);
    let elsewhere = |text: String| {
        let (before, rest) = text.split_once("sse_url = \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        format!("{before}sse_url = \"http://127.0.0.1:9/sse\"{after}")
    };
    world.restart_with(elsewhere).await;
    assert_eq!(status(&world, &access).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn t66_endpoint_on_other_host_cuts_stream() {
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
async fn t66_compressed_stream_is_rejected() {
    let world =
        World::start_with(|text| text.replace("{backend}/sse", "{backend}/compressed")).await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp/sse", &tokens.access).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(!answer.text().await.unwrap().contains("evil"));
}

#[tokio::test]
async fn t69_stream_is_not_buffered_and_ends_with_caller() {
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
async fn stream_ends_when_access_token_is_revoked() {
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
async fn old_stream_ends_when_refresh_token_is_revoked() {
    let world = World::start().await;
    let (_, tokens) = world.session().await;
    let answer = world.open("/mcp", &tokens.access).await;
    world.pass(Duration::from_secs(601)).await;
    // The store works in order, so the jobs of the sweep are done after this.
    world.client().await;
    let backend = world.backend.stream();
    world
        .post_form("/revoke", &[("token", &tokens.refresh)])
        .await;
    backend.closed().await;
    assert!(answer.text().await.is_err());
}

#[tokio::test]
async fn stream_ends_when_its_access_token_expires() {
    let world = World::start_with(|text| format!("keep_alive_seconds = 0\n{text}")).await;
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
async fn silent_stream_gets_comments_between_lines() {
    let world = World::start().await;
    let tokens = world.session().await.1;
    let mut stream = world.open("/mcp", &tokens.access).await.bytes_stream();
    let backend = world.backend.stream();
    let mut next = async || stream.next().await.unwrap().unwrap();
    for _ in 0..2 {
        world.pass(Duration::from_secs(46)).await;
        assert_eq!(next().await, ":\n");
    }
    backend.send(Bytes::from("data: a")).await.unwrap();
    assert_eq!(next().await, "data: a");
    world.pass(Duration::from_secs(46)).await;
    backend.send(Bytes::from("b\n")).await.unwrap();
    assert_eq!(next().await, "b\n", "no comment within a line");
    world.pass(Duration::from_secs(40)).await;
    backend.send(Bytes::from("\n")).await.unwrap();
    assert_eq!(next().await, "\n", "it was not silent for long");
    world.pass(Duration::from_secs(46)).await;
    assert_eq!(next().await, ":\n");
}

/// Returns a gateway whose backend responds to calls with streams, and the access token of a caller.
async fn with_streamed_answers(drain_seconds: u32) -> (World, String) {
    let world = World::start_with(|text| {
        format!(
            "drain_seconds = {drain_seconds}\n{text}\n[servers.streamed]\nurl = \"{{backend}}/streamed\"\n"
        )
    })
    .await;
    let mut client = world.client().await;
    client.resource = Some(world.url("/streamed/mcp"));
    let tokens = client.sign_in(&Browser::new()).await;
    (world, tokens.access)
}

#[tokio::test]
async fn draining_gateway_finishes_calls_before_ending_streams() {
    let (mut world, access) = with_streamed_answers(20).await;
    let call = world.mcp("/streamed/mcp", &access).send().await.unwrap();
    let answering = world.backend.stream();
    let stream = world.open("/streamed/mcp", &access).await;
    let telling = world.backend.stream();
    let health = world.url("/healthz");
    let mut stopping = pin!(world.stop());
    let going_on = async {
        while browser::http().get(&health).send().await.is_ok() {}
        let (mut call, mut stream) = (call.bytes_stream(), stream.bytes_stream());
        for (sender, receiver) in [(&answering, &mut call), (&telling, &mut stream)] {
            sender.send(Bytes::from("data: 1\n\n")).await.unwrap();
            assert_eq!(receiver.next().await.unwrap().unwrap(), "data: 1\n\n");
        }
        (call, stream)
    };
    let (mut call, mut stream) = tokio::select! {
        () = &mut stopping => panic!("it did not wait for the call"),
        streams = going_on => streams,
    };
    drop(answering);
    let ended = async {
        assert!(call.next().await.is_none(), "the whole answer");
        assert!(stream.next().await.unwrap().is_err(), "cut afterwards");
    };
    tokio::join!(stopping, ended);
}

#[tokio::test]
async fn call_beyond_drain_timeout_is_cut() {
    let (mut world, access) = with_streamed_answers(0).await;
    let call = world.mcp("/streamed/mcp", &access).send().await.unwrap();
    let _answering = world.backend.stream();
    world.stop().await;
    assert!(call.text().await.is_err());
}

#[tokio::test]
async fn stream_ends_when_gateway_stops() {
    let mut world = World::start().await;
    let tokens = world.session().await.1;
    let answer = world.open("/mcp", &tokens.access).await;
    world.stop().await;
    assert!(answer.text().await.is_err());
}

#[tokio::test]
async fn unanswered_call_gets_error_when_gateway_stops() {
    let mut world = World::start_with(|text| {
        format!("drain_seconds = 0\n{text}\n[servers.silent]\nurl = \"{{backend}}/silent\"\n")
    })
    .await;
    let mut client = world.client().await;
    client.resource = Some(world.url("/silent/mcp"));
    let tokens = client.sign_in(&Browser::new()).await;
    let call = tokio::spawn(world.mcp("/silent/mcp", &tokens.access).send());
    world.backend.ignored().await;
    world.stop().await;
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["error"]["code"], 1112, "{answer}");
}

#[tokio::test]
async fn call_being_sent_finishes_during_drain() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut world, access) = with_streamed_answers(20).await;
    let host = world.origin.trim_start_matches("http://").to_owned();
    let mut call = tokio::net::TcpStream::connect(&host).await.unwrap();
    let whole = world.raw("POST /mcp", &access, "{\"half\": 1}");
    let whole = whole.replace("x-www-form-urlencoded", "json");
    let whole = whole.replace("POST /mcp", "POST /streamed/mcp");
    let (begun, rest) = whole.split_at(whole.len() - 5);
    call.write_all(begun.as_bytes()).await.unwrap();
    // Connections are accepted in order.
    world.get_json("/healthz").await;
    let mut stopping = pin!(world.stop());
    let sent = async {
        while browser::http()
            .get(format!("http://{host}/healthz"))
            .send()
            .await
            .is_ok()
        {}
        call.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        call.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    tokio::select! {
        () = &mut stopping => panic!("it did not wait for the call"),
        () = sent => {}
    }
    drop(call);
    stopping.await;
}

#[tokio::test]
async fn subscription_does_not_delay_drain() {
    let (mut world, access) = with_streamed_answers(600).await;
    let subscription = world.mcp("/streamed/mcp", &access);
    let subscription = subscription.header("mcp-method", "subscriptions/listen");
    let subscription = subscription.send().await.unwrap();
    let _telling = world.backend.stream();
    world.stop().await;
    assert!(subscription.text().await.is_err());
}
