//! HTTP connections of hosts: their maximum and their timeouts.

use std::time::Duration;

use bridge::DescriptorLimits;
use control::socket::{SocketKind, connect};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bridge::{Bridge, TIMEOUT};
use crate::server::Server;

const HEAD: &str = "POST /one/mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n";

/// A connection to the HTTP port of a bridge.
struct Connection(TcpStream);

impl Connection {
    async fn open(bridge: &Bridge) -> Self {
        let url = bridge.http().await;
        let address = url.strip_prefix("http://").unwrap();
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a request that is answered at once, and reads the answer.
    async fn ask(&mut self) -> String {
        let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "nothing" }).to_string();
        self.send(&format!(
            "{HEAD}content-length: {}\r\n\r\n{ping}",
            ping.len()
        ))
        .await;
        self.some().await.expect("an answer")
    }

    /// Opens an event stream without events.
    async fn listen(&mut self) {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": { "_meta": meta } });
        let body = body.to_string();
        let modern = "mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n";
        let length = body.len();
        self.send(&format!(
            "{HEAD}{modern}content-length: {length}\r\n\r\n{body}"
        ))
        .await;
        let answer = self.some().await.expect("a stream");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Begins a request, which is in flight until its rest is sent.
    async fn begin(&mut self) {
        self.send(&format!("{HEAD}content-length: 100\r\n\r\n{{\"json"))
            .await;
    }

    /// Reads the next piece. Returns `None` at the end.
    async fn some(&mut self) -> Option<String> {
        tokio::time::timeout(TIMEOUT, self.piece())
            .await
            .expect("the bridge says something")
    }

    async fn piece(&mut self) -> Option<String> {
        let mut piece = vec![0; 16 * 1024];
        match self.0.read(&mut piece).await {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(String::from_utf8_lossy(&piece[..length]).into_owned()),
        }
    }

    /// Returns true if the bridge keeps the connection open.
    async fn is_open(&mut self) -> bool {
        let soon = Duration::from_millis(200);
        while let Ok(piece) = tokio::time::timeout(soon, self.piece()).await {
            if piece.is_none() {
                return false;
            }
        }
        true
    }

    /// Reads the next piece, while time passes in steps of this length.
    async fn some_after(&mut self, step: Duration) -> Option<String> {
        for _ in 0..100 {
            pass(step).await;
            let soon = Duration::from_millis(200);
            if let Ok(piece) = tokio::time::timeout(soon, self.piece()).await {
                return piece;
            }
        }
        panic!("nothing comes, not even an end");
    }
}

/// Advances the time without other events.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn connection_with_incomplete_head_is_closed() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    for begun in ["", "POST /one", HEAD] {
        let mut connection = Connection::open(&bridge).await;
        connection.send(begun).await;
        let step = Duration::from_secs(11);
        assert_eq!(connection.some_after(step).await, None, "{begun}");
    }
    let mut connection = Connection::open(&bridge).await;
    connection.ask().await;
    connection.send("POST /one").await;
    assert_eq!(connection.some_after(Duration::from_secs(11)).await, None);
}

#[tokio::test]
async fn silent_socket_client_is_disconnected() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    for face in [SocketKind::Mcp, SocketKind::Control] {
        for begun in ["", "{\"postern\""] {
            let mut socket = connect(&bridge.home, face).await.unwrap();
            socket.write_all(begun.as_bytes()).await.unwrap();
            // Requested on another connection, so that this one is accepted by then.
            bridge.state().await;
            pass(Duration::from_secs(11)).await;
            let mut rest = Vec::new();
            let end = tokio::time::timeout(TIMEOUT / 4, socket.read_to_end(&mut rest));
            end.await.expect("the bridge closes it").unwrap();
            assert_eq!(rest, b"");
        }
    }
}

#[tokio::test]
async fn request_with_stalled_body_gets_408() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut connection = Connection::open(&bridge).await;
    connection.begin().await;
    let answer = connection.some_after(Duration::from_secs(31)).await;
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not come within 30 seconds; hint: "));
    assert_eq!(connection.some().await, None);
}

#[tokio::test]
async fn idle_connection_is_closed_and_stream_stays() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut listening = Connection::open(&bridge).await;
    listening.listen().await;
    let mut idle = Connection::open(&bridge).await;
    idle.ask().await;
    pass(Duration::from_secs(100)).await;
    assert!(idle.ask().await.starts_with("HTTP/1.1 "));
    assert_eq!(idle.some_after(Duration::from_secs(121)).await, None);
    assert!(listening.is_open().await);
}

fn eight_connections(options: &mut bridge::Options) {
    options.descriptors = DescriptorLimits::from_limit(Some(32));
}

#[tokio::test]
async fn stalled_connections_are_closed_for_new_requests() {
    let server = Server::start().await;
    let bridge = Bridge::start_with(&server.url(), eight_connections).await;
    let mut listening = Connection::open(&bridge).await;
    listening.listen().await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(&bridge).await;
        connection.send("POST /one").await;
        stalled.push(connection);
    }
    let mut host = Connection::open(&bridge).await;
    assert!(host.ask().await.starts_with("HTTP/1.1 "));
    // The first of them was closed.
    assert_eq!(stalled[0].some().await, None);
    assert!(listening.is_open().await);
}

#[tokio::test]
async fn busy_connections_stay_and_others_wait() {
    let server = Server::start().await;
    let bridge = Bridge::start_with(&server.url(), eight_connections).await;
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut connection = Connection::open(&bridge).await;
        connection.begin().await;
        busy.push(connection);
    }
    let mut host = Connection::open(&bridge).await;
    let asking = tokio::time::timeout(Duration::from_secs(2), host.ask());
    assert!(asking.await.is_err(), "there is no room");
    busy.pop();
    assert!(host.some().await.is_some(), "there is some now");
    for connection in &mut busy {
        assert!(connection.is_open().await);
    }
}
