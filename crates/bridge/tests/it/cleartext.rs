//! Servers on other machines over plain http, which the user has to allow. A proxy on this
//! machine stands in for the network, so that nothing leaves it.

use std::net::SocketAddr;

use control::api::{DoctorOutcome, Reply, Request, ServerState};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::bridge::Bridge;
use crate::server::Server;

const FAR: &str = "http://far.example/mcp";

/// A proxy that connects every request to the server at `to`.
async fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"CONNECT far.example:80 "), "{head:?}");
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut far = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

/// A bridge behind the proxy, whose only server is as given.
async fn bridge(server: &Server, fields: &str) -> Bridge {
    let mut bridge = Bridge::start(&server.url()).await;
    let proxy = proxy(server.address).await;
    let config = format!(
        "[bridge]\nport = 0\nsign_in_wait_seconds = 3\nproxy = 'http://{proxy}'\n{fields}\n"
    );
    std::fs::write(bridge.home.config_file(), config).unwrap();
    bridge.restart().await;
    bridge
}

#[tokio::test]
async fn remote_http_works_only_if_allowed() {
    let server = Server::start().await;
    let far = format!("[servers.one]\nurl = '{FAR}'");
    let refusing = bridge(&server, &far).await;
    let problem = refusing.state().await.bridge.config_problem.unwrap();
    assert!(problem.message.contains("`servers.one.url`"), "{problem}");
    assert!(problem.hint.unwrap().contains("allow_http = true"));
    assert!(refusing.state().await.servers.is_empty());
    assert_eq!(server.record.sessions().0, 0);

    let allowing = bridge(&server, &format!("{far}\nallow_http = true")).await;
    let mut host = allowing.host("one").await;
    host.initialize().await;
    let answer = host.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    let Reply::Doctor(checks) = allowing.call(Request::Doctor).await.unwrap() else {
        panic!("no checks");
    };
    let check = checks.iter().find(|check| check.subject == "server one");
    assert_eq!(check.unwrap().outcome, DoctorOutcome::Warning);
    let state = allowing.state().await;
    assert_eq!(state.servers.len(), 1, "its URL is its name too");
    let mut by_url = allowing.host(FAR).await;
    by_url.initialize().await;
    assert_eq!(allowing.state().await.servers.len(), 1);
}

#[tokio::test]
async fn exposed_server_starts_no_sign_in() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let fields = format!("[servers.one]\nurl = '{FAR}'\nallow_http = true");
    let bridge = bridge(&server, &fields).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    bridge
        .until(|state| *state == ServerState::SignInNeeded)
        .await;
    let server = "one".to_owned();
    let refused = bridge
        .call(Request::SignIn {
            server,
            way: control::api::SignInWay::Local,
        })
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("a token could be read"),
        "{refused}"
    );
}

#[tokio::test]
async fn management_api_adds_exposed_server_only_if_approved() {
    let server = Server::start().await;
    let bridge = bridge(&server, "").await;
    let add = |allow_http| Request::AddServer {
        name: "one".to_owned(),
        url: FAR.to_owned(),
        allow_http,
    };
    let refused = bridge.call(add(false)).await.unwrap_err();
    assert!(refused.to_string().contains("https"), "{refused}");
    assert_eq!(bridge.call(add(true)).await.unwrap(), Reply::Done);
    bridge.until(|state| *state == ServerState::Ready).await;
    let written = std::fs::read_to_string(bridge.home.config_file()).unwrap();
    assert!(written.contains("allow_http = true"), "{written}");
}
