//! Floods of connections, and which requests are still answered.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use super::browser::{self, Browser};
use super::world::World;

/// More connections than the 100 of the configuration.
const MANY: usize = 120;

async fn small_gateway() -> World {
    World::start_with(|text| format!("max_connections = 100\n{text}")).await
}

/// Sends a text on a new connection.
async fn say(world: &World, text: &str) -> TcpStream {
    let host = world.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let text = text.replace("{host}", host);
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Returns a connection that has received a response and stays open.
async fn idle_connection(world: &World) -> TcpStream {
    let mut stream = say(world, "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

/// Reads until the gateway closes.
async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset closes it too.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn idle_connections_close_and_session_streams_stay() {
    let world = small_gateway().await;
    let tokens = world.session().await.1;
    let mut stream = world.open("/mcp", &tokens.access).await.bytes_stream();
    let backend = world.backend.stream();
    let mut open = Vec::new();
    for _ in 0..MANY {
        open.push(idle_connection(&world).await);
    }
    is_closed(open.remove(0)).await;
    backend.send(Bytes::from("data: 1\n\n")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
}

#[tokio::test]
async fn unfinished_requests_are_closed_for_new_ones() {
    let world = small_gateway().await;
    let tokens = world.session().await.1;
    let unfinished = "POST /register HTTP/1.1\r\nHost: {host}\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let mut open = Vec::new();
    for _ in 0..MANY {
        open.push(say(&world, unfinished).await);
    }
    let answer = browser::http().get(world.url("/healthz")).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    is_closed(open.remove(0)).await;
}

/// Returns an HTTP/2 connection that answers pings. The task ends when the gateway closes it.
async fn http2_connection(world: &World) -> (SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let host = world.origin.trim_start_matches("http://");
    let stream = TcpStream::connect(host).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn idle_http2_connections_are_closed_for_new_ones() {
    let world = small_gateway().await;
    let tokens = world.session().await.1;
    let mut stream = world.open("/mcp", &tokens.access).await.bytes_stream();
    let backend = world.backend.stream();
    let mut idle = Vec::new();
    for _ in 0..MANY {
        let (mut sender, task) = http2_connection(&world).await;
        let answer = sender.send_request(get(&world.url("/healthz"))).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        idle.push((sender, task));
    }
    let (_sender, first) = idle.remove(0);
    let _ = first.await.unwrap();
    backend.send(Bytes::from("data: 1\n\n")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
}

#[tokio::test]
async fn unfinished_http2_requests_are_limited() {
    let world = small_gateway().await;
    let tokens = world.session().await.1;
    let url = world.url("/revoke");
    let mut flooding = Vec::new();
    for _ in 0..80 {
        let (mut sender, task) = http2_connection(&world).await;
        for _ in 0..64 {
            let form = Request::post(&url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from_stream(tokio_stream::pending::<
                    hyper::Result<Bytes>,
                >()))
                .unwrap();
            drop(tokio::spawn(sender.send_request(form)));
        }
        flooding.push((sender, task));
    }
    let answer = browser::http().get(world.url("/healthz")).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    assert_eq!(world.mcp_status(&tokens.access).await, StatusCode::OK);
    // 64 of each are 5,120, of which 4,096 may be open.
    for (_sender, task) in flooding.drain(..16) {
        let _ = task.await.unwrap();
    }
    assert!(!flooding[60].1.is_finished());
}

#[tokio::test]
async fn idle_connection_stays_open_for_three_minutes() {
    let world = World::start().await;
    let mut stream = idle_connection(&world).await;
    let host = world.origin.trim_start_matches("http://");
    world.pass(Duration::from_secs(125)).await;
    let again = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(again.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while answer.windows(4).filter(|part| *part == b"\nok\n").count() < 2 {
        assert_ne!(
            stream.read_buf(&mut answer).await.unwrap(),
            0,
            "it was closed"
        );
    }
    world.pass(Duration::from_secs(181)).await;
    is_closed(stream).await;
}

#[tokio::test]
async fn health_check_succeeds_while_sessions_use_all_places() {
    let world = World::start_with(|text| {
        format!("max_connections = 100\n{text}\n[servers.silent]\nurl = \"{{backend}}/silent\"\n")
    })
    .await;
    let mut client = world.client().await;
    client.resource = Some(world.url("/silent/mcp"));
    let access = client.sign_in(&Browser::new()).await.access;
    let call = || {
        let call = browser::http().post(world.url("/silent/mcp"));
        call.bearer_auth(&access).send()
    };
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(tokio::spawn(call()));
        world.backend.ignored().await;
    }
    let answer = browser::http().get(world.url("/healthz")).send().await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
    let refused = call().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let refused: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], 1113, "{refused}");
    assert!(!calls.iter().any(JoinHandle::is_finished));
}

#[tokio::test]
async fn unread_response_closes_its_connection() {
    let world = World::start().await;
    let host = world.origin.trim_start_matches("http://");
    let stream = TcpStream::connect(host).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(1);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    let task = tokio::spawn(connection);
    let answer = sender.send_request(get(&world.url("/healthz"))).await;
    let unread = answer.unwrap();
    world.pass(Duration::from_secs(61)).await;
    world.pass(Duration::from_secs(6)).await;
    let _ = task.await.unwrap();
    drop(unread);
}
