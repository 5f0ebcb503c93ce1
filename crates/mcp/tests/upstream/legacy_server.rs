//! A host without a handshake in front of a server with one.

use std::sync::Arc;

use http::Method;
use mcp::upstream::{ServerTraits, UpstreamError};
use mcp::{Message, RequestId};
use model::config::Transport;
use serde_json::{Value, json};

use crate::server::{Call, Events, Host, Server, text};

/// The error of a legacy server for a request without a session.
const NO_SESSION: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Server not initialized"}}"#;
const INITIALIZED: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}"#;

fn modern(id: i64, method: &str, mut params: Value) -> Message {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "h", "version": "2" });
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    Message::request(&RequestId::number(id), method, Some(params))
}

fn call(id: i64) -> Message {
    modern(id, "tools/call", json!({ "name": "t" }))
}

fn value(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

fn params(call: &Call) -> Value {
    value(&call.message())["params"].clone()
}

/// Answers the handshake, and opens the listening stream.
async fn handshake(server: &mut Server) -> Events {
    let initialize = server.call().await;
    assert!(initialize.is("initialize"), "{initialize:?}");
    assert_eq!(initialize.header("mcp-protocol-version"), None);
    assert_eq!(
        params(&initialize),
        json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "h", "version": "2" },
        })
    );
    initialize.initialized_with("s", INITIALIZED);
    let initialized = server.call_by(Method::POST).await;
    assert!(initialized.is("notifications/initialized"));
    assert_eq!(initialized.header("mcp-session-id"), Some("s"));
    initialized.status(202);
    let stream = server.call_by(Method::GET).await;
    assert_eq!(stream.header("mcp-session-id"), Some("s"));
    stream.events()
}

/// Returns the next request in the session, as the server gets it.
async fn in_session(server: &mut Server, method: &str) -> Call {
    let call = server.call_by(Method::POST).await;
    assert!(call.is(method), "{call:?}");
    assert_eq!(call.header("mcp-session-id"), Some("s"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
    assert_eq!(call.header("mcp-method"), None);
    call
}

/// A host and a server after the handshake for a call with the id 1, and that call.
async fn called(learned: &Arc<ServerTraits>) -> (Host, Server, Events, Call) {
    let mut server = Server::start().await;
    let host = Host::learning(&server, "/mcp", Transport::Auto, learned);
    host.send(&call(1));
    let first = server.call().await;
    assert_eq!(first.body, call(1).bytes(), "it is tried as it is");
    first.refuse(400, "application/json", NO_SESSION);
    let events = handshake(&mut server).await;
    let call = in_session(&mut server, "tools/call").await;
    (host, server, events, call)
}

/// Instead of a status: as an event.
const EVENT: u16 = 0;

#[tokio::test]
async fn refused_request_becomes_handshake_and_is_answered() {
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
    let anything = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let early = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Received request before initialization was complete"}}"#;
    let version = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Unsupported protocol version"}}"#;
    let other = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no","data":{"supported":["2025-11-25"],"requested":"2026-07-28"}}}"#;
    for (method, status, body) in [
        ("server/discover", 200, unknown),
        ("server/discover", 404, unknown),
        ("server/discover", 200, anything),
        ("server/discover", EVENT, unknown),
        ("server/discover", EVENT, anything),
        ("tools/list", 200, early),
        ("tools/list", 400, early),
        ("tools/list", 400, version),
        ("tools/list", 400, other),
        ("tools/list", 200, other),
        ("tools/list", EVENT, early),
        ("tools/list", 400, NO_SESSION),
        ("tools/list", 422, "expected initialize"),
    ] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/mcp", Transport::Http);
        host.send_as(&modern(1, method, json!({})), "Bearer one");
        match status {
            EVENT => server.call().await.event(body),
            status => server.call().await.refuse(status, "application/json", body),
        }
        handshake(&mut server).await;
        if method == "tools/list" {
            let list = in_session(&mut server, "tools/list").await;
            assert_eq!(list.header("authorization"), Some("Bearer one"));
            assert_eq!(params(&list), json!({}));
            list.result(r#"{"tools":[]}"#);
        }
        let (answer, on) = host.message_on().await;
        assert_eq!(on, Some(RequestId::number(1)));
        let result = &value(&answer)["result"];
        assert_eq!(result["resultType"], "complete", "{method} {status}");
        assert_eq!(result["ttlMs"], 0);
        assert_eq!(result["cacheScope"], "private");
        let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(info["name"], "s");
        if method == "server/discover" {
            assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
            assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
        }
        host.end_session(&mut server).await;
    }
}

#[tokio::test]
async fn modern_error_is_returned_without_handshake() {
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
    let wrong = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such tool"}}"#;
    let version = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no"}}"#;
    for (status, body) in [(404, unknown), (200, wrong), (400, wrong), (400, version)] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/mcp", Transport::Auto);
        host.send(&call(1));
        server.call().await.refuse(status, "application/json", body);
        assert_eq!(host.message().await.bytes(), body.as_bytes());
        assert!(server.is_idle());
    }
}

#[tokio::test]
async fn incomplete_request_changes_no_era() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let id = RequestId::number(1);
    host.send(&Message::request(
        &id,
        "tools/list",
        Some(json!({ "_meta": meta })),
    ));
    server
        .call()
        .await
        .refuse(400, "application/json", NO_SESSION);
    let failure = host.failure(Some(1)).await;
    assert!(matches!(
        failure,
        UpstreamError::Rejected { status: 400, .. }
    ));
    host.send(&call(2));
    let native = server.call().await;
    assert_eq!(native.body, call(2).bytes());
    native.result("{}");
    host.message().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn era_is_learned_once() {
    let learned = Arc::default();
    let (mut host, mut server, _events, first) = called(&learned).await;
    first.result("{}");
    host.message().await;
    let mut other = Host::learning(&server, "/mcp", Transport::Auto, &learned);
    other.send(&call(5));
    handshake(&mut server).await;
    in_session(&mut server, "tools/call").await.result("{}");
    assert_eq!(value(&other.message().await)["id"], 5);
}

#[tokio::test]
async fn upgraded_server_is_detected() {
    let learned = Arc::default();
    let (mut host, mut server, _events, first) = called(&learned).await;
    first.result("{}");
    host.message().await;
    let mismatch = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"headers"}}"#;
    for initializes in [true, false] {
        let mut other = Host::learning(&server, "/mcp", Transport::Http, &learned);
        other.send(&call(5));
        if initializes {
            let initialize = server.call().await;
            assert!(initialize.is("initialize"));
            initialize.refuse(400, "application/json", mismatch);
        }
        let native = server.call().await;
        assert_eq!(native.body, call(5).bytes());
        assert_eq!(native.header("mcp-method"), Some("tools/call"));
        native.result(r#"{"resultType":"complete"}"#);
        assert_eq!(value(&other.message().await)["id"], 5);
    }
}

#[tokio::test]
async fn wrong_url_reports_first_error() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/wrong", Transport::Http);
    for _ in 0..2 {
        host.send(&call(1));
        server.call().await.status(404);
        let initialize = server.call().await;
        assert!(initialize.is("initialize"));
        initialize.status(404);
        let failure = host.failure(Some(1)).await;
        assert!(matches!(
            failure,
            UpstreamError::Rejected { status: 404, .. }
        ));
    }
    assert!(server.is_idle());
}

#[tokio::test]
async fn server_request_is_answered_by_retry() {
    let (mut host, mut server, _events, open) = called(&Arc::default()).await;
    let id = open.message().id().unwrap().clone();
    let stream = open.events();
    let elicit = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{"message":"?"}}}}"#
        )
    };
    stream.message(&elicit(7));
    let (asked, on) = host.message_on().await;
    assert_eq!(on, Some(RequestId::number(1)));
    let asked = value(&asked)["result"].clone();
    assert_eq!(asked["resultType"], "input_required");
    let (name, wish) = asked["inputRequests"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(wish["method"], "elicitation/create");

    let given = json!({
        "name": "t",
        "requestState": asked["requestState"],
        "inputResponses": { (name): { "action": "accept" } },
    });
    host.send(&modern(1, "tools/call", given));
    let response = server.call_by(Method::POST).await;
    let expected = r#"{"jsonrpc":"2.0","id":7,"result":{"action":"accept"}}"#;
    assert_eq!(response.body, expected);
    assert_eq!(response.header("mcp-session-id"), Some("s"));
    response.status(202);
    stream.message(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#
    ));
    let answer = value(&host.message().await);
    assert_eq!(
        (&answer["id"], &answer["result"]["content"]),
        (&json!(1), &json!([]))
    );
    drop(stream);

    host.send(&call(2));
    let open = in_session(&mut server, "tools/call").await;
    let id = open.message().id().unwrap().clone();
    let stream = open.events();
    stream.message(&elicit(8));
    host.message().await;
    let ending = tokio::spawn(host.end());
    let cancelled = in_session(&mut server, "notifications/cancelled").await;
    assert_eq!(
        cancelled.body,
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        )
    );
    cancelled.status(202);
    server.call_by(Method::DELETE).await.status(204);
    ending.await.unwrap();
}

#[tokio::test]
async fn missing_retry_cancels_request() {
    let (mut host, mut server, _events, open) = called(&Arc::default()).await;
    let stream = open.events();
    stream.message(r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#);
    host.message().await;
    // Only the timeout is left to happen.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(10 * 60)).await;
    tokio::time::resume();
    let mut told = Vec::new();
    for _ in 0..2 {
        let call = server.call_by(Method::POST).await;
        told.push(value(&call.message()));
        call.status(202);
    }
    assert!(
        told.iter()
            .any(|told| told["id"] == 7 && told["error"]["code"] == -32603)
    );
    assert!(
        told.iter()
            .any(|told| told["method"] == "notifications/cancelled")
    );
    stream.gone().await;
}

#[tokio::test]
async fn progress_and_cancellation_are_translated() {
    let (mut host, mut server, _events, open) = called(&Arc::default()).await;
    open.result("{}");
    host.message().await;
    let slow = json!({ "name": "slow", "_meta": { "progressToken": 3 } });
    host.send(&modern(2, "tools/call", slow));
    let open = in_session(&mut server, "tools/call").await;
    assert_eq!(params(&open)["_meta"], json!({ "progressToken": 3 }));
    let id = open.message().id().unwrap().clone();
    let stream = open.events();
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":3,"progress":1.0}}"#;
    stream.message(progress);
    let (told, on) = host.message_on().await;
    assert_eq!(
        (told.bytes().as_ref(), on),
        (progress.as_bytes(), Some(RequestId::number(2)))
    );
    host.upstream.abandon(&RequestId::number(2));
    let cancelled = in_session(&mut server, "notifications/cancelled").await;
    assert_eq!(
        params(&cancelled)["requestId"],
        value(&text(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#
        )))["id"]
    );
    cancelled.status(202);
    stream.gone().await;
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn subscription_uses_listening_stream() {
    let (mut host, mut server, events, open) = called(&Arc::default()).await;
    open.result("{}");
    host.message().await;
    let filter = json!({ "toolsListChanged": true, "resourceSubscriptions": ["test://a"] });
    host.send(&modern(
        9,
        "subscriptions/listen",
        json!({ "notifications": filter }),
    ));
    let subscribe = in_session(&mut server, "resources/subscribe").await;
    assert_eq!(params(&subscribe), json!({ "uri": "test://a" }));
    subscribe.result("{}");
    let (acknowledged, on) = host.message_on().await;
    assert_eq!(on, Some(RequestId::number(9)));
    let acknowledged = value(&acknowledged);
    assert_eq!(
        acknowledged["method"],
        "notifications/subscriptions/acknowledged"
    );
    assert_eq!(acknowledged["params"]["notifications"], filter);
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let (changed, on) = host.message_on().await;
    assert_eq!(on, Some(RequestId::number(9)));
    let meta = &value(&changed)["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], 9);
    host.upstream.abandon(&RequestId::number(9));
    let unsubscribe = in_session(&mut server, "resources/unsubscribe").await;
    assert_eq!(params(&unsubscribe), json!({ "uri": "test://a" }));
    unsubscribe.result("{}");
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn lost_session_is_replaced() {
    let (mut host, mut server, _events, open) = called(&Arc::default()).await;
    open.result("{}");
    host.message().await;
    host.send(&modern(
        9,
        "subscriptions/listen",
        json!({ "notifications": { "toolsListChanged": true } }),
    ));
    host.message().await;
    host.send(&call(2));
    in_session(&mut server, "tools/call").await.status(404);
    for id in [9, 2] {
        let failure = host.failure(Some(id)).await;
        assert!(
            matches!(failure, UpstreamError::SessionGone { .. }),
            "{failure}"
        );
    }
    host.send(&call(2));
    handshake(&mut server).await;
    in_session(&mut server, "tools/call").await.result("{}");
    assert_eq!(value(&host.message().await)["id"], 2);
}

#[tokio::test]
async fn rejected_token_fails_all_waiting_requests() {
    let (mut host, mut server, _events, open) = called(&Arc::default()).await;
    open.status(401);
    let failure = host.failure(Some(1)).await;
    assert!(matches!(failure, UpstreamError::Unauthorized { .. }));
    host.send_as(&call(1), "Bearer new");
    let again = in_session(&mut server, "tools/call").await;
    assert_eq!(again.header("authorization"), Some("Bearer new"));
    again.result("{}");
    host.message().await;
}

#[tokio::test]
async fn http_sse_server_serves_modern_host() {
    for transport in [Transport::Sse, Transport::Auto] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/sse", transport);
        host.send(&call(1));
        if transport == Transport::Auto {
            server.call().await.status(405);
            server.call().await.status(405);
        }
        let stream = server.call_by(Method::GET).await.events();
        stream.send("event: endpoint\ndata: /message?sessionId=1\n\n");
        let answer = |call: Call, result: &str| {
            let id = call.message().id().unwrap().clone();
            call.refuse(202, "text/plain", "Accepted");
            stream.message(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            ));
        };
        let initialize = server.call().await;
        assert!(initialize.is("initialize"));
        answer(initialize, INITIALIZED);
        server.call().await.status(202);
        let call = server.call().await;
        assert!(call.is("tools/call"));
        stream.message(r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#);
        let asked = value(&host.message().await)["result"].clone();
        assert_eq!(asked["resultType"], "input_required");
        let again = json!({
            "name": "t",
            "requestState": asked["requestState"],
            "inputResponses": { "input-3": { "action": "cancel" } },
        });
        host.send(&modern(2, "tools/call", again));
        let response = server.call().await;
        assert_eq!(value(&response.message())["result"]["action"], "cancel");
        response.status(202);
        answer(call, r#"{"content":[]}"#);
        let answer = value(&host.message().await);
        assert_eq!(
            (&answer["id"], &answer["result"]["resultType"]),
            (&json!(2), &json!("complete"))
        );
        host.end().await;
        stream.gone().await;
        assert!(server.is_idle());
    }
}
