//! When a browser opens, and what a sign-out removes.

use control::api::{Request, ServerState, SignInWay};
use control::socket::{BindError, Listener};
use control::{CallError, Client};
use serde_json::{Value, json};

use crate::bridge::{Bridge, Host};
use crate::server::Server;

fn sign_in() -> Request {
    Request::SignIn {
        server: "one".to_owned(),
        way: SignInWay::Local,
    }
}

fn sign_out() -> Request {
    Request::SignOut {
        account: None,
        everywhere: false,
    }
}

async fn tools(host: &mut Host, id: i64) -> Value {
    host.request(id, "tools/list", json!({})).await["result"]["tools"].take()
}

/// A bridge with a signed-in account.
async fn signed_in(server: &Server, person: &str) -> Bridge {
    server.record.want_sign_in();
    server.record.person(person);
    let bridge = Bridge::start(&server.url()).await;
    let (reply, ()) = tokio::join!(bridge.call(sign_in()), bridge.browse());
    reply.unwrap();
    bridge
}

#[tokio::test]
async fn sign_out_affects_open_sessions_and_opens_no_page() {
    let server = Server::start().await;
    let bridge = signed_in(&server, "ann").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    assert_eq!(tools(&mut host, 1).await[0]["name"], "echoann");
    bridge.call(sign_out()).await.unwrap();
    bridge
        .until(|state| *state == ServerState::SignInNeeded)
        .await;
    // The server would still accept the token.
    let forgotten = tools(&mut host, 2).await;
    assert_eq!(
        forgotten.as_array().map(Vec::len),
        Some(1),
        "what ann saw is forgotten"
    );
    assert_eq!(forgotten[0]["name"], "sign_in_one");
    assert_eq!(server.record.bodies("tools/list").len(), 2);
    host.request(3, "resources/read", json!({ "uri": "x:y" }))
        .await;
    let state = bridge.state().await;
    assert_eq!(state.sign_ins, [], "no page was requested");
    host.send(r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"echo"}}"#)
        .await;
    server.record.person("bob");
    bridge.browse().await;
    let mut meanwhile = Vec::new();
    assert!(host.answer(4, &mut meanwhile).await["result"].is_object());
    while !meanwhile
        .iter()
        .any(|told| told["method"] == "notifications/tools/list_changed")
    {
        meanwhile.push(host.value().await);
    }
    assert_eq!(tools(&mut host, 5).await[0]["name"], "echobob");
}

/// Signs in on the open page. Returns the scopes that it requests.
async fn agree(bridge: &Bridge) -> Option<String> {
    let state = bridge.until_state(|state| !state.sign_ins.is_empty()).await;
    let page: url::Url = state.sign_ins[0].url.parse().unwrap();
    bridge.browse().await;
    let scope = page.query_pairs().find(|(name, _)| name == "scope");
    scope.map(|(_, scope)| scope.into_owned())
}

#[tokio::test]
async fn call_without_scope_waits_for_step_up() {
    let server = Server::start().await;
    let bridge = signed_in(&server, "ann").await;
    let [mut host, mut other] = [bridge.host("one").await, bridge.host("one").await];
    host.initialize().await;
    other.initialize().await;
    server.record.want_scope("mcp.more");
    for host in [&mut host, &mut other] {
        host.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":1}}"#)
            .await;
    }
    // Requests that need no more scopes continue meanwhile.
    assert_eq!(tools(&mut host, 2).await[0]["name"], "echoann");
    assert_eq!(agree(&bridge).await.as_deref(), Some("mcp.more"));
    for host in [&mut host, &mut other] {
        let answer = host.answer(1, &mut Vec::new()).await;
        assert_eq!(answer["result"]["x"], 1, "{answer}");
    }
    assert_eq!(bridge.state().await.sign_ins, [], "one page for both");
}

#[tokio::test]
async fn failed_step_up_is_not_repeated() {
    let server = Server::start().await;
    let bridge = signed_in(&server, "ann").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    server.record.want_scope_in_vain("mcp.more");
    let asked = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#;
    host.send(asked).await;
    agree(&bridge).await;
    let first = host.answer(1, &mut Vec::new()).await;
    let second = host.request(2, "tools/call", json!({})).await;
    for answer in [first, second] {
        let hint = answer["error"]["data"]["hint"].as_str().unwrap();
        assert!(hint.contains("sign in again"), "{answer}");
    }
    assert_eq!(bridge.state().await.sign_ins, []);
    assert_eq!(server.record.bodies("tools/call").len(), 3);
    // The user can still ask for it.
    let (reply, scope) = tokio::join!(bridge.call(sign_in()), agree(&bridge));
    reply.unwrap();
    assert_eq!(scope.as_deref(), Some("mcp.more"));
}

#[tokio::test]
async fn shutdown_waits_for_token_refresh_and_holds_lock() {
    let server = Server::start().await;
    server.record.renew_late();
    let mut bridge = signed_in(&server, "ann").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    server.record.end_token();
    host.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#)
        .await;
    server.record.hanging((1, 0)).await;
    bridge.stop();
    assert!(host.end().await);
    let second = Listener::bind(&bridge.home);
    assert!(matches!(second, Err(BindError::InUse)), "{second:?}");
    let client = Client::connect(&bridge.home, "1.0.0", false).await;
    assert!(matches!(client, Err(CallError::NotRunning)), "{client:?}");
    server.record.release();
    bridge.restart().await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let answer = host.request(2, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "the renewed token was kept");
}

#[tokio::test]
async fn sign_out_deletes_cache_before_response() {
    let server = Server::start().await;
    let mut bridge = signed_in(&server, "ann").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    tools(&mut host, 1).await;
    bridge.restart().await;
    assert!(bridge.written().unwrap().contains("echoann"));
    let mut host = bridge.host("one").await;
    host.initialize().await;
    // This change is not written yet when the account signs out.
    server.record.describe(10);
    tools(&mut host, 1).await;
    bridge.call(sign_out()).await.unwrap();
    let left = |bridge: &Bridge| bridge.written().unwrap().contains("echo");
    assert!(!left(&bridge));
    bridge.restart().await;
    assert!(!left(&bridge), "a late write brings it back");
}

#[tokio::test]
async fn cache_of_account_is_not_shown_to_next() {
    let server = Server::start().await;
    let mut bridge = signed_in(&server, "ann").await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    tools(&mut host, 1).await;
    server.record.person("bob");
    let (reply, ()) = tokio::join!(bridge.call(sign_in()), bridge.browse());
    reply.unwrap();
    bridge
        .until_state(|state| {
            let tools = state.servers[0].tools.as_ref();
            tools.is_some_and(|tools| tools[0].name == "echobob")
        })
        .await;
    drop(server);
    bridge.restart().await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    assert_eq!(tools(&mut host, 1).await[0]["name"], "echobob");
}

#[tokio::test]
async fn first_connection_opens_one_page_at_most() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start(&server.url()).await;
    let mut first = bridge.host("one").await;
    first.initialize().await;
    bridge.until_state(|state| state.sign_ins.len() == 1).await;
    let mut second = bridge.host("one").await;
    second.initialize().await;
    assert_eq!(bridge.state().await.sign_ins.len(), 1);
    let cancel = Request::CancelSignIn {
        server: "one".to_owned(),
    };
    bridge.call(cancel).await.unwrap();
    bridge.until_state(|state| state.sign_ins.is_empty()).await;
    let call = json!({ "name": "echo" });
    let answer = first.request(1, "tools/call", call).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    assert_eq!(answer["error"]["data"]["server"], "one");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("one needs a sign-in"),
        "{answer}"
    );
    assert_eq!(bridge.state().await.sign_ins, []);
}

#[tokio::test]
async fn attached_desktop_app_suppresses_page() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start(&server.url()).await;
    let _desktop = control::Client::connect(&bridge.home, "1.0.0", true)
        .await
        .unwrap();
    let mut host = bridge.host("one").await;
    host.initialize().await;
    tools(&mut host, 1).await;
    assert_eq!(bridge.state().await.sign_ins, []);
}

#[tokio::test]
async fn client_leaving_during_sign_in_is_not_counted() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start(&server.url()).await;
    let mut desktop = control::Client::connect(&bridge.home, "1.0.0", true)
        .await
        .unwrap();
    let asking = async { desktop.call(&sign_in()).await };
    tokio::select! {
        ended = asking => panic!("{ended:?}"),
        _ = bridge.until_state(|state| !state.sign_ins.is_empty()) => {}
    }
    drop(desktop);
    let cancel = Request::CancelSignIn {
        server: "one".to_owned(),
    };
    bridge.call(cancel).await.unwrap();
    bridge.until_state(|state| state.sign_ins.is_empty()).await;
    // Only the user may ask now. The bridge is idle and ends on request.
    bridge.call(Request::Quit).await.unwrap();
    bridge.ended().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_page() {
    let server = Server::start().await;
    server.record.want_sign_in();
    let bridge = Bridge::start(&server.url()).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    bridge.until_state(|state| !state.sign_ins.is_empty()).await;
    let begun = std::time::Instant::now();
    bridge.call(Request::Quit).await.unwrap();
    bridge.ended().await;
    assert!(begun.elapsed().as_secs() < 4, "nothing was waited for");
}
