//! A host with a handshake in front of a server without one.

use std::sync::Arc;

use mcp::upstream::{ServerTraits, UpstreamError};
use mcp::{Message, RequestId};
use model::config::Transport;
use serde_json::{Value, json};

use crate::server::{Call, Host, Server, request, text};

const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}},"ttlMs":0,"cacheScope":"private"}"#;
const MISMATCH: &str =
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"no version in the headers"}}"#;

fn initialize() -> Message {
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "h", "version": "2" },
    });
    Message::request(&RequestId::number(0), "initialize", Some(params))
}

fn call(id: i64) -> Message {
    Message::request(
        &RequestId::number(id),
        "tools/call",
        Some(json!({ "name": "t" })),
    )
}

fn params(call: &Call) -> Value {
    serde_json::from_str(call.message().params().unwrap().get()).unwrap()
}

fn value(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

fn refuse(call: Call, status: u16, body: &str) {
    call.refuse(status, "application/json", body.to_owned());
}

/// A host and a server after a handshake that was translated to `server/discover`.
async fn ready(learned: &Arc<ServerTraits>) -> (Host, Server) {
    let mut server = Server::start().await;
    let mut host = Host::learning(&server, "/mcp", Transport::Auto, learned);
    host.send(&initialize());
    let first = server.call().await;
    assert!(first.is("initialize"));
    refuse(first, 400, MISMATCH);
    server.call().await.result(DISCOVERED);
    assert!(host.message().await.result().is_some());
    host.send(&Message::notification("notifications/initialized", None));
    (host, server)
}

/// Instead of a status: as an event.
const EVENT: u16 = 0;

#[tokio::test]
async fn refused_initialize_becomes_server_discover() {
    for (status, code, id) in [
        (400, -32020, "null"),
        (400, -32022, "0"),
        (400, -32602, "0"),
        (404, -32601, "0"),
        (200, -32601, "0"),
        (EVENT, -32601, "0"),
        (EVENT, -32022, "0"),
    ] {
        let mut server = Server::start().await;
        let mut host = Host::new(&server, "/mcp", Transport::Auto);
        host.send_as(&initialize(), "Bearer one");
        let error =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"first"}}}}"#);
        match status {
            EVENT => server.call().await.event(&error),
            status => refuse(server.call().await, status, &error),
        }
        let discover = server.call().await;
        assert!(discover.is("server/discover"), "{discover:?}");
        assert_eq!(discover.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(discover.header("mcp-method"), Some("server/discover"));
        assert_eq!(discover.header("authorization"), Some("Bearer one"));
        discover.result(DISCOVERED);
        let (answer, on) = host.message_on().await;
        assert_eq!(on, Some(RequestId::number(0)));
        let result = &value(&answer)["result"];
        assert_eq!(result["protocolVersion"], "2025-11-25");
        assert_eq!(result["serverInfo"]["name"], "s");

        host.send(&Message::notification("notifications/initialized", None));
        host.send(&call(1));
        let called = server.call().await;
        assert_eq!(called.header("mcp-name"), Some("t"));
        assert_eq!(called.header("mcp-session-id"), None);
        let meta = &params(&called)["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "h");
        called.result(r#"{"resultType":"complete","content":[]}"#);
        assert!(host.message().await.result().is_some());
        host.end().await;
        assert!(server.is_idle(), "there is no session to end");
    }
}

#[tokio::test]
async fn era_is_learned_once() {
    let learned = Arc::default();
    let (mut host, mut server) = ready(&learned).await;
    let mut other = Host::learning(&server, "/mcp", Transport::Auto, &learned);
    for host in [&mut host, &mut other] {
        host.send(&initialize());
        let first = server.call().await;
        assert!(first.is("server/discover"), "{first:?}");
        first.result(DISCOVERED);
        assert!(host.message().await.result().is_some());
    }
}

#[tokio::test]
async fn downgraded_server_gets_handshake_again() {
    let learned = Arc::default();
    let (mut host, mut server) = ready(&learned).await;
    let no_session =
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Server not initialized"}}"#;
    host.send(&initialize());
    refuse(server.call().await, 400, no_session);
    let again = server.call().await;
    assert_eq!(again.body, initialize().bytes(), "the host's own words");
    again.initialized("s");
    assert_eq!(value(&host.message().await)["id"], 0);
    host.send(&Message::notification("notifications/initialized", None));
    server.call().await.status(202);
    host.send(&call(1));
    let called = server.call().await;
    assert_eq!(called.header("mcp-session-id"), Some("s"));
    assert_eq!(called.body, call(1).bytes());
    called.result("{}");
    host.message().await;

    let mut other = Host::learning(&server, "/mcp", Transport::Auto, &learned);
    other.send(&initialize());
    server.call().await.initialized("t");
    assert_eq!(value(&other.message().await)["id"], 0);
}

#[tokio::test]
async fn refusal_is_returned_if_discovery_fails() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Http);
    host.send(&initialize());
    let first = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"first"}}"#;
    refuse(server.call().await, 400, first);
    server.call().await.status(404);
    assert_eq!(host.message().await.bytes(), first.as_bytes());

    host.send(&initialize());
    let again = server.call().await;
    assert!(again.is("initialize"), "nothing was learned");
    again.status(401);
    let failure = host.failure(Some(0)).await;
    assert!(matches!(failure, UpstreamError::Unauthorized { .. }));
    assert!(server.is_idle());
}

#[tokio::test]
async fn input_request_is_sent_to_host() {
    let (mut host, mut server) = ready(&Arc::default()).await;
    host.send(&call(1));
    let wish = r#"{"resultType":"input_required","inputRequests":{"n":{"method":"elicitation/create","params":{"message":"?"}}},"requestState":"\u0061"}"#;
    server.call().await.result(wish);
    let (question, on) = host.message_on().await;
    assert_eq!(question.method(), Some("elicitation/create"));
    assert_eq!(on, Some(RequestId::number(1)));
    let id = question.id().unwrap();
    host.send(&text(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#
    )));
    let round = server.call().await;
    assert!(round.is("tools/call"));
    assert_ne!(round.message().id(), Some(&RequestId::number(1)));
    let sent = String::from_utf8(round.body.to_vec()).unwrap();
    assert!(sent.contains(r#""inputResponses":{"n":{"action":"accept"}},"requestState":"\u0061""#));
    let events = round.events();
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#);
    let (progress, on) = host.message_on().await;
    assert_eq!(progress.method(), Some("notifications/progress"));
    assert_eq!(on, Some(RequestId::number(1)));
    host.send(&text(
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
    ));
    events.gone().await;
    host.end().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn token_expiry_between_rounds_repeats_no_elicitation() {
    let (mut host, mut server) = ready(&Arc::default()).await;
    host.send(&call(1));
    let wish = r#"{"resultType":"input_required","inputRequests":{"n":{"method":"elicitation/create","params":{}}}}"#;
    server.call().await.result(wish);
    let question = host.message().await;
    let id = question.id().unwrap();
    let given = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#);
    host.send(&text(&given));
    server.call().await.status(401);
    let failure = host.failure(Some(1)).await;
    assert!(matches!(failure, UpstreamError::Unauthorized { .. }));
    host.send_as(&call(1), "Bearer new");
    let round = server.call().await;
    assert_eq!(round.header("authorization"), Some("Bearer new"));
    assert_eq!(params(&round)["inputResponses"]["n"]["action"], "decline");
    round.result("{}");
    assert_eq!(value(&host.message().await)["id"], 1);
}

#[tokio::test]
async fn notifications_arrive_by_subscription() {
    let (mut host, mut server) = ready(&Arc::default()).await;
    host.upstream.listen(None);
    let listen = server.call().await;
    assert!(listen.is("subscriptions/listen"), "{listen:?}");
    assert_eq!(
        params(&listen)["notifications"],
        json!({ "toolsListChanged": true })
    );
    let id = listen.message().id().unwrap().clone();
    let tag = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    let events = listen.events();
    events.message(&format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{tag},"notifications":{{}}}}}}"#
    ));
    events.message(&format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{{{tag}}}}}"#
    ));
    let (changed, on) = host.message_on().await;
    let expected = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#;
    assert_eq!((changed.bytes().as_ref(), on), (expected.as_bytes(), None));

    let subscribe = json!({ "uri": "test://a" });
    host.send(&Message::request(
        &RequestId::number(1),
        "resources/subscribe",
        Some(subscribe),
    ));
    let second = server.call().await;
    assert_eq!(
        params(&second)["notifications"],
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["test://a"] })
    );
    let second = second.events();
    second.message(r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"resourceSubscriptions":["test://a"]}}}"#);
    assert_eq!(value(&host.message().await)["result"], json!({}));
    events.gone().await;
    second.message(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}"#);
    let (updated, on) = host.message_on().await;
    assert_eq!(updated.method(), Some("notifications/resources/updated"));
    assert_eq!(on, None);
    host.upstream.reset();
    second.gone().await;
    host.end().await;
}

#[tokio::test]
async fn messages_during_handshake_are_translated() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&initialize());
    host.send(&Message::notification("notifications/initialized", None));
    host.send(&request(1, "ping"));
    host.send(&call(2));
    host.upstream.listen(None);
    refuse(server.call().await, 400, MISMATCH);
    assert_eq!(value(&host.message().await)["id"], 1, "pong");
    let (first, second) = (server.call().await, server.call().await);
    let (discover, called) = match first.is("server/discover") {
        true => (first, second),
        false => (second, first),
    };
    assert_eq!(called.header("mcp-method"), Some("tools/call"));
    called.result("{}");
    assert_eq!(value(&host.message().await)["id"], 2);
    discover.result(DISCOVERED);
    assert_eq!(value(&host.message().await)["id"], 0);
    assert!(server.call().await.is("subscriptions/listen"));
}
