//! Connections without end: who is served all the same.

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;

use super::browser;
use super::world::World;

/// More than one address may have of 100.
const MANY: usize = 120;

async fn small_gateway() -> World {
    World::start_with(|text| format!("max_connections = 100\n{text}")).await
}

/// Sends this on a connection of its own.
async fn say(world: &World, text: &str) -> TcpStream {
    let host = world.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let text = text.replace("{host}", host);
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// A connection that has had its answer, and stays open.
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
async fn idle_connections_make_room_for_new_ones_and_not_streams_of_sessions() {
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
async fn requests_that_never_end_make_room() {
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
