//! Sessions that need a sign-in until there is a usable token.

use std::time::Duration;

use control::api::{Request, ServerState, SignInWay};
use model::{Clock, ManualClock};
use serde_json::{Value, json};

use crate::bridge::{Bridge, Host};
use crate::server::Server;

/// Longer than the token endpoint is left alone after an error response.
const AFTER_HOLD: Duration = Duration::from_secs(84);

/// A bridge whose user has signed in to `server`, with refresh tokens.
async fn signed_in(server: &Server) -> (Bridge, ManualClock) {
    server.record.want_sign_in();
    server.record.person("ann");
    server.record.renew_late();
    server.record.release();
    let clock = ManualClock::new(Clock::system().now());
    let given = clock.clock();
    let bridge = Bridge::start_with(&server.url(), |options| options.clock = given).await;
    let sign_in = Request::SignIn {
        server: "one".to_owned(),
        way: SignInWay::Local,
    };
    let (reply, ()) = tokio::join!(bridge.call(sign_in), bridge.browse());
    reply.unwrap();
    (bridge, clock)
}

async fn tools(host: &mut Host, id: i64) -> Value {
    host.request(id, "tools/list", json!({})).await["result"]["tools"].take()
}

/// Rejects one token, and answers the refresh that follows with `interaction_required`.
async fn lose(server: &Server, bridge: &Bridge, host: &mut Host) {
    server.record.end_token();
    server.record.want_interaction(true);
    tools(host, 1).await;
    bridge
        .until(|state| *state == ServerState::SignInNeeded)
        .await;
    let asked = server.record.token_requests();
    for id in 2..7 {
        tools(host, id).await;
    }
    assert_eq!(server.record.token_requests(), asked, "it is left alone");
    server.record.want_interaction(false);
}

#[tokio::test]
async fn open_session_recovers_after_backoff() {
    let server = Server::start().await;
    let (bridge, clock) = signed_in(&server).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    lose(&server, &bridge, &mut host).await;

    clock.advance(AFTER_HOLD);
    let answer = host.request(8, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    assert_eq!(bridge.state().await.sign_ins, [], "no page was needed");
}

#[tokio::test]
async fn modern_session_recovers_after_backoff() {
    let server = Server::start().await;
    let (bridge, clock) = signed_in(&server).await;
    let mut legacy = bridge.host("one").await;
    legacy.initialize().await;
    lose(&server, &bridge, &mut legacy).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut host = bridge.host("one").await;
    host.request(1, "tools/list", json!({ "_meta": meta }))
        .await;

    clock.advance(AFTER_HOLD);
    let call = json!({ "_meta": meta, "x": 1 });
    let answer = host.request(2, "tools/call", call).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    assert_eq!(bridge.state().await.sign_ins, [], "no page was needed");
}

#[tokio::test]
async fn open_session_uses_token_of_another_session() {
    let server = Server::start().await;
    let (bridge, clock) = signed_in(&server).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    lose(&server, &bridge, &mut host).await;

    clock.advance(AFTER_HOLD);
    let mut other = bridge.host("one").await;
    other.initialize().await;
    let answer = other.request(1, "tools/call", json!({ "x": 1 })).await;
    assert_eq!(answer["result"]["x"], 1, "{answer}");
    // The open session sends no request, and is told that the server is back.
    loop {
        let told = host.value().await;
        if told["method"] == "notifications/tools/list_changed" {
            break;
        }
    }
    assert_eq!(tools(&mut host, 9).await[0]["name"], "echoann");
}
