//! Errors of a connection.

use axum::body::Body;
use http::Response;
use mcp::Message;
use mcp::upstream::UpstreamError;
use model::config::Transport;
use tokio::net::TcpListener;

use crate::server::{Host, Server, client, request, text};

fn refusal(status: u16, challenges: &[&str]) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for challenge in challenges {
        response = response.header("WWW-Authenticate", *challenge);
    }
    response.body(Body::from("no")).unwrap()
}

#[tokio::test]
async fn authorization_errors_carry_challenges() {
    let (mut host, mut server) = Host::ready().await;
    let bearer = r#"Bearer resource_metadata="https://a/b", scope="x y""#;
    host.send(&request(1, "tools/list"));
    server
        .call()
        .await
        .respond(refusal(401, &[bearer, "Basic"]));
    let UpstreamError::Unauthorized { challenge, .. } = host.failure(Some(1)).await else {
        panic!()
    };
    assert_eq!(challenge.unwrap(), format!("{bearer}, Basic"));

    host.send(&request(1, "tools/list"));
    server.call().await.respond(refusal(403, &[bearer]));
    let UpstreamError::Forbidden { challenge, .. } = host.failure(Some(1)).await else {
        panic!()
    };
    assert_eq!(challenge.unwrap(), bearer);

    host.send(&Message::notification("notifications/cancelled", None));
    server.call().await.respond(refusal(401, &[]));
    let failure = host.failure(None).await;
    assert!(
        matches!(
            failure,
            UpstreamError::Unauthorized {
                challenge: None,
                ..
            }
        ),
        "{failure}"
    );
}

#[tokio::test]
async fn error_text_repeats_no_sent_header() {
    let (mut host, mut server) = Host::ready().await;
    let said = r#"{"message":"Token abcdefghijkl of\r\n\u001b key is not known"}"#;
    let body = |status: u16| {
        let response = Response::builder().status(status);
        response.body(Body::from(said)).unwrap()
    };
    host.send_as(&request(1, "tools/list"), "Bearer abcdefghijkl");
    server.call().await.respond(body(401));
    let UpstreamError::Unauthorized { words, .. } = host.failure(Some(1)).await else {
        panic!()
    };
    assert_eq!(words.as_deref(), Some("Token … of key is not known"));

    host.send_as(&request(2, "tools/list"), "Bearer abcdefghijkl");
    server.call().await.respond(body(403));
    assert_eq!(
        host.failure(Some(2)).await.to_string(),
        "the server does not allow this (HTTP 403): Token … of key is not known"
    );

    host.send(&request(3, "tools/list"));
    let empty = Response::builder().status(401);
    let empty = empty.header("WWW-Authenticate", r#"Basic realm="keys""#);
    server
        .call()
        .await
        .respond(empty.body(Body::empty()).unwrap());
    let UpstreamError::Unauthorized { words, .. } = host.failure(Some(3)).await else {
        panic!()
    };
    assert_eq!(words.as_deref(), Some(r#"Basic realm="keys""#));
}

#[tokio::test]
async fn refused_connection_has_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let mut host = Host::with(client(), &url, Transport::Auto);
    host.send(&request(1, "initialize"));
    let UpstreamError::Unreachable { reason, sent } = host.failure(Some(1)).await else {
        panic!()
    };
    assert!(!sent);
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn wrong_path_is_detected_by_status() {
    for status in [404, 405, 410] {
        let mut server = Server::start().await;
        let url = format!("{}/mcp", server.origin);
        let mut host = Host::with(client(), &url, Transport::Http);
        host.send(&request(1, "initialize"));
        server.call().await.refuse(status, "text/html", "no");
        let failure = host.failure(Some(1)).await;
        assert!(failure.is_wrong_path(), "{failure:?}");
        let text = failure.to_string();
        assert!(text.contains("at this path (HTTP 4"), "{text}");
    }
}

#[tokio::test]
async fn unknown_private_name_hint_asks_for_vpn() {
    // No resolver accepts a label of more than 63 octets.
    let url = format!("http://{}.internal/mcp", "a".repeat(64));
    let mut host = Host::with(client(), &url, Transport::Auto);
    host.send(&request(1, "initialize"));
    let UpstreamError::Unreachable {
        reason,
        sent: false,
    } = host.failure(Some(1)).await
    else {
        panic!()
    };
    assert!(reason.contains("does not resolve"), "{reason}");
    assert!(reason.ends_with("network or VPN?"), "{reason}");
}

#[tokio::test]
async fn broken_connection_may_have_sent_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let mut host = Host::with(client(), &url, Transport::Http);
    host.send(&request(1, "tools/call"));
    let (mut socket, _) = listener.accept().await.unwrap();
    tokio::io::AsyncReadExt::read(&mut socket, &mut [0; 64])
        .await
        .unwrap();
    drop(socket);
    let failure = host.failure(Some(1)).await;
    assert!(
        matches!(failure, UpstreamError::Unreachable { sent: true, .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn non_mcp_response_is_quoted() {
    let (mut host, mut server) = Host::ready().await;
    let html = "<!DOCTYPE html>\n\n<title>Sign\u{1b}[1m in</title>".repeat(10);
    let other = r#"{"jsonrpc":"2.0","id":2,"result":{"secret":1}}"#;
    let others = format!("[{other},{other}]");
    for (kind, body, expected) in [
        (
            "text/html",
            html.as_str(),
            "text/html: <!DOCTYPE html> <title>Sign[1m in</title>",
        ),
        (
            "application/json",
            "{}",
            "application/json, but the message is not JSON-RPC 2.0",
        ),
        (
            "application/json",
            others.as_str(),
            "an array without the response",
        ),
        ("application/json", other, "does not answer the request"),
        ("application/json", r#"{"secret"#, "is not JSON"),
    ] {
        host.send(&request(1, "tools/list"));
        server.call().await.refuse(200, kind, body.to_owned());
        let failure = host.failure(Some(1)).await;
        assert!(
            matches!(failure, UpstreamError::NotMcp { status: 200, .. }),
            "{failure}"
        );
        let shown = failure.to_string();
        assert!(shown.contains(expected), "{shown}");
        assert!(shown.len() < 200 && !shown.contains("secret"), "{shown}");
    }
    host.send(&request(1, "tools/list"));
    server.call().await.status(202);
    assert!(matches!(
        host.failure(Some(1)).await,
        UpstreamError::NotMcp { status: 202, .. }
    ));
}

#[tokio::test]
async fn redirect_is_not_followed_and_hides_query() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/list"));
    let location = format!("{}/login?code=secret", server.origin);
    let response = Response::builder().status(302).header("location", location);
    server
        .call()
        .await
        .respond(response.body(Body::empty()).unwrap());
    let failure = host.failure(Some(1)).await.to_string();
    assert!(
        failure.contains("/login") && !failure.contains("secret"),
        "{failure}"
    );
    assert!(server.is_idle());
}

#[tokio::test]
async fn too_large_response_is_rejected() {
    let mut server = Server::start().await;
    let url = format!("{}/mcp", server.origin);
    let mut host = Host::with(client().with_limit(100), &url, Transport::Http);
    let large = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":"{}"}}"#,
        "x".repeat(100)
    );
    host.send(&request(1, "tools/list"));
    server.call().await.json(large.clone());
    assert!(
        host.failure(Some(1))
            .await
            .to_string()
            .contains("100 bytes")
    );
    host.send(&request(1, "tools/list"));
    let events = server.call().await.events();
    events.message(&large);
    assert!(
        host.failure(Some(1))
            .await
            .to_string()
            .contains("100 bytes")
    );
    events.gone().await;
}

#[tokio::test]
async fn error_without_id_is_passed_on() {
    let (mut host, mut server) = Host::ready().await;
    let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"odd"}}"#;
    for status in [200, 415, 500] {
        host.send(&request(1, "tools/list"));
        server
            .call()
            .await
            .refuse(status, "application/json", error);
        let UpstreamError::Rejected { status: got, body } = host.failure(Some(1)).await else {
            panic!()
        };
        assert_eq!(got, status);
        assert_eq!(body.unwrap().bytes(), error);
    }
}

#[tokio::test]
async fn duplicate_pending_id_is_rejected() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&text(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#));
    let call = server.call().await;
    host.send(&text(r#"{"jsonrpc":"2.0","id":1.0,"method":"b"}"#));
    let error = host.message().await;
    assert!(error.error().unwrap().get().contains("-32600"));
    assert_eq!(error.id().unwrap().as_json(), "1.0");
    call.result("{}");
    assert!(host.message().await.result().is_some());
    assert!(server.is_idle());
}

#[tokio::test]
async fn response_without_content_type_is_parsed() {
    let (mut host, mut server) = Host::ready().await;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    host.send(&request(1, "tools/list"));
    server
        .call()
        .await
        .respond(Response::new(Body::from(answer)));
    assert_eq!(host.message().await.bytes(), answer);
}
