//! Connections that lie idle are given up before their servers do that.

use std::time::Duration;

use axum::body::Body;
use http::Response;

use crate::server::{Host, Server, request};

/// One request and its answer, in which the server says how long it keeps the connection; the
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

/// Lets time pass in which nothing happens.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_is_used_again_only_while_its_server_surely_keeps_it() {
    let (mut host, mut server) = Host::ready().await;
    for (keeps, short, long) in [
        // Node.js says so, uvicorn does not.
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
async fn a_call_that_takes_long_keeps_its_connection() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(7, "tools/call"));
    let slow = server.call().await;
    pass(Duration::from_secs(60)).await;
    ask(&mut host, &mut server, None).await;
    slow.result("{}");
    assert!(host.message().await.result().is_some());
}
