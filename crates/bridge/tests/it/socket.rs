//! HTTP over the socket that only this user can open.

use bytes::Bytes;
use control::Home;
use control::socket::{SocketKind, Stream, connect};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::server::Server;

async fn open(home: &Home) -> SendRequest<Full<Bytes>> {
    let stream: Stream = connect(home, SocketKind::Http).await.unwrap();
    let (requests, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn ask(method: Method, path: &str, host: &str, body: &Value) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Full::from(body.to_string()))
        .unwrap()
}

fn initialize() -> Value {
    let info = json!({ "name": "t", "version": "1" });
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

async fn json_of(response: Response<Incoming>) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn socket_serves_same_messages_as_port() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut http = open(&bridge.home).await;
    let first = http
        .send_request(ask(Method::POST, "/one/mcp", "localhost", &initialize()))
        .await
        .unwrap();
    let session = first.headers()["mcp-session-id"].clone();
    assert_eq!(json_of(first).await["result"]["serverInfo"]["name"], "real");

    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "x": 1.0 } });
    let mut request = ask(Method::POST, "/one/mcp", "localhost", &call);
    request.headers_mut().insert("mcp-session-id", session);
    let answer = json_of(http.send_request(request).await.unwrap()).await;
    assert_eq!(answer["result"]["x"], 1.0);
    let state = bridge.state().await;
    assert_eq!(state.sessions[0].transport, "http");

    let mut stream = open(&bridge.home)
        .await
        .send_request(ask(Method::GET, "/one/sse", "localhost", &Value::Null))
        .await
        .unwrap();
    let frame = stream.body_mut().frame().await.unwrap().unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(text.starts_with("event: endpoint"), "{text}");
}

#[tokio::test]
async fn socket_applies_access_check() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    let mut http = open(&bridge.home).await;
    for host in ["evil.example", "localhost.evil.example"] {
        let request = ask(Method::POST, "/one/mcp", host, &initialize());
        let refused = http.send_request(request).await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{host}");
        refused.into_body().collect().await.unwrap();
    }
    let mut request = ask(Method::POST, "/one/mcp", "localhost", &initialize());
    let page = "https://evil.example".parse().unwrap();
    request.headers_mut().insert("origin", page);
    let refused = http.send_request(request).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.record.sessions().0, 0);
}

#[tokio::test]
async fn socket_is_open_though_port_is_in_use() {
    let server = Server::start().await;
    let mut bridge = Bridge::start(&server.url()).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "[bridge]\nport = {}\n[servers.one]\nurl = '{}'\n",
        taken.local_addr().unwrap().port(),
        server.url()
    );
    std::fs::write(bridge.home.config_file(), config).unwrap();
    bridge.restart().await;
    let state = bridge.state().await;
    assert!(state.bridge.http_problem.is_some());
    let socket = state.bridge.socket.unwrap();
    let expected = format!("{socket}#/one/mcp");
    assert_eq!(state.servers[0].socket_endpoint, Some(expected));
    #[cfg(unix)]
    assert_eq!(
        socket,
        format!("unix://{}", bridge.home.socket(SocketKind::Http).display())
    );
    let request = ask(Method::POST, "/one/mcp", "localhost", &initialize());
    let answer = open(&bridge.home)
        .await
        .send_request(request)
        .await
        .unwrap();
    assert_eq!(
        json_of(answer).await["result"]["serverInfo"]["name"],
        "real"
    );

    let path = bridge.home.socket(SocketKind::Http);
    bridge.stop();
    bridge.ended().await;
    assert!(!path.exists(), "{} is left behind", path.display());
}
