//! When idle connections are closed, and how many there are.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use mcp::upstream::{Client, ClientOptions};
use mcp::{Message, RequestId};
use model::config::Transport;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::{Host, Server, request, soon};

/// One request and its response, in which the server announces its keep-alive timeout. Returns the
/// client's port.
async fn ask(host: &mut Host, server: &mut Server, keeps: Option<&str>) -> Option<u16> {
    host.send(&request(1, "tools/list"));
    let call = server.call().await;
    let port = call.port;
    let mut answer = Response::builder().header("content-type", "application/json");
    if let Some(keeps) = keeps {
        answer = answer.header("keep-alive", keeps);
    }
    let body = Body::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    call.respond(answer.body(body).unwrap());
    assert!(host.message().await.result().is_some());
    port
}

/// Lets time pass without any event.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn connection_is_reused_before_server_timeout() {
    let (mut host, mut server) = Host::ready().await;
    for (keeps, short, long) in [
        // Node.js announces it, uvicorn does not.
        (Some("timeout=5"), 2000, 4100),
        (None, 2000, 4100),
        (Some("timeout=3"), 1000, 2100),
        (Some("timeout=75"), 40_000, 75_000),
    ] {
        let first = ask(&mut host, &mut server, keeps).await;
        pass(Duration::from_millis(short)).await;
        let second = ask(&mut host, &mut server, keeps).await;
        assert_eq!(first, second, "{keeps:?}");
        pass(Duration::from_millis(short)).await;
        let third = ask(&mut host, &mut server, keeps).await;
        assert_eq!(first, third, "{keeps:?}: each answer counts anew");
        pass(Duration::from_millis(long)).await;
        let last = ask(&mut host, &mut server, None).await;
        assert_ne!(first, last, "{keeps:?}");
        pass(Duration::from_secs(60)).await;
    }
}

#[tokio::test]
async fn long_call_keeps_its_connection() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(7, "tools/call"));
    let slow = server.call().await;
    pass(Duration::from_secs(60)).await;
    ask(&mut host, &mut server, None).await;
    slow.result("{}");
    assert!(host.message().await.result().is_some());
}

/// The connections to a server: how many are open, and the maximum so far.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    now: usize,
    most: usize,
}

/// A server that answers every request, and counts its connections.
async fn counting_server() -> (String, watch::Receiver<Open>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (open, counted) = watch::channel(Open::default());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            open.send_modify(|open| {
                open.now += 1;
                open.most = open.most.max(open.now);
            });
            let open = open.clone();
            tokio::spawn(async move {
                answer_all(socket).await;
                open.send_modify(|open| open.now -= 1);
            });
        }
    });
    (url, counted)
}

/// Answers each request on the connection until it ends.
async fn answer_all(socket: TcpStream) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if socket.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.ok()?;
        let message = Message::parse(body.into()).ok()?;
        let id = message.id()?;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        let length = body.len();
        let head = format!("content-type: application/json\r\ncontent-length: {length}");
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn call_at_once(host: &mut Host, calls: i64) {
    for id in 1..=calls {
        host.send(&request(id, "tools/call"));
    }
    for _ in 1..=calls {
        assert!(host.message().await.result().is_some());
    }
}

#[tokio::test]
async fn burst_of_calls_leaves_few_connections_and_then_none() {
    let (url, mut open) = counting_server().await;
    let mut host = Host::with(crate::server::client(), &url, Transport::Http);
    call_at_once(&mut host, 200).await;
    assert!(open.borrow().most > 8, "{:?}", *open.borrow());
    soon(open.wait_for(|open| open.now <= 8)).await.unwrap();
    // Without any request meanwhile, each connection is closed by its own timer.
    soon(open.wait_for(|open| open.now == 0)).await.unwrap();
}

#[tokio::test]
async fn connections_stay_below_cap_and_calls_take_turns() {
    let (url, open) = counting_server().await;
    let client = Client::new(ClientOptions {
        max_connections: Some(12),
        ..ClientOptions::default()
    });
    let mut host = Host::with(client.unwrap(), &url, Transport::Http);
    call_at_once(&mut host, 200).await;
    assert!(open.borrow().most <= 12, "{:?}", *open.borrow());
}

#[tokio::test]
async fn cancellation_does_not_wait_for_calls_at_cap() {
    let mut server = Server::start().await;
    let client = Client::new(ClientOptions {
        max_connections: Some(12),
        ..ClientOptions::default()
    });
    let url = format!("{}/mcp", server.origin);
    let mut host = Host::with(client.unwrap(), &url, Transport::Http);
    host.handshake(&mut server, "s").await;
    for id in 1..=20 {
        host.send(&request(id, "tools/call"));
    }
    let mut held = vec![server.call().await];
    host.send(&Message::cancellation_with_reason(
        &RequestId::number(1),
        "enough",
    ));
    while !held.last().unwrap().is("notifications/cancelled") {
        held.push(server.call().await);
    }
    assert!(held.len() < 20, "the calls are capped");
}

/// Answers the first request with events in two parts, of which the reader takes the last one late.
/// Answers the next request after it has waited for its end.
async fn answer_in_parts(
    listener: TcpListener,
    mut is_read: watch::Receiver<bool>,
    sent: watch::Sender<bool>,
) -> Option<()> {
    let (mut socket, _) = listener.accept().await.ok()?;
    let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n";
    let last = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    let first = event.repeat(20);
    let length = first.len() + last.len();
    read_request(&mut socket).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\
         keep-alive: timeout=1\r\n\r\n"
    );
    socket.write_all((head + &first).as_bytes()).await.ok()?;
    is_read.wait_for(|read| *read).await.ok()?;
    socket.write_all(last.as_bytes()).await.ok()?;
    sent.send_replace(true);
    read_request(&mut socket).await?;
    // Longer than the announced keep-alive timeout and the interval of closing.
    let mut byte = [0];
    let end = tokio::time::timeout(Duration::from_secs(3), socket.read(&mut byte)).await;
    assert!(end.is_err(), "the connection was closed under a request");
    let body = r#"{"jsonrpc":"2.0","id":2,"result":{}}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n";
    assert_eq!(body.len(), 36);
    socket
        .write_all((head.to_owned() + body).as_bytes())
        .await
        .ok()
}

/// Reads a request whose body is one JSON object that does not end with a nested one.
async fn read_request(socket: &mut TcpStream) -> Option<()> {
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        socket
            .read_buf(&mut text)
            .await
            .ok()
            .filter(|read| *read > 0)?;
    }
    Some(())
}

#[tokio::test]
async fn connection_in_use_is_not_closed_after_late_reader() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (sent, mut is_sent) = watch::channel(false);
    let (read, is_read) = watch::channel(false);
    let serving = tokio::spawn(answer_in_parts(listener, is_read, sent));
    let mut host = Host::with(crate::server::client(), &url, Transport::Http);
    host.send(&request(1, "tools/call"));
    assert_eq!(host.message().await.method(), Some("x"));
    read.send_replace(true);
    soon(is_sent.wait_for(|sent| *sent)).await.unwrap();
    // The connection has read everything, while the reader waits for the host.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    host.send(&request(2, "tools/call"));
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    while host.message().await.id() != Some(&RequestId::number(1)) {}
    assert!(host.message().await.answers(&RequestId::number(2)));
    serving.await.unwrap().unwrap();
}
