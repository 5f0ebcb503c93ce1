//! Checks whether a sign-in is needed before the user starts one.

use control::CallError;
use control::api::{ProblemKind, Reply, Request, ServerState, SignInCheck, SignInWay, State};
use serde_json::json;

use crate::bridge::Bridge;
use crate::server::{Refused, Server};

fn sign_in() -> Request {
    let (server, way) = ("one".to_owned(), SignInWay::Local);
    Request::SignIn { server, way }
}

/// A bridge in which Ann is signed in to `server`.
async fn signed_in(server: &Server) -> Bridge {
    server.record.want_sign_in();
    server.record.person("ann");
    let bridge = Bridge::start(&server.url()).await;
    let (reply, ()) = tokio::join!(bridge.call(sign_in()), bridge.browse());
    reply.unwrap();
    bridge
}

/// Checks whether the server accepts its account. Opens no page.
async fn is_signed_in(bridge: &Bridge) -> bool {
    let pages = |state: &State| -> Vec<String> {
        let waiting = state.sign_ins.iter();
        waiting.map(|page| page.url.clone()).collect()
    };
    let before = pages(&bridge.state().await);
    let server = "one".to_owned();
    let reply = bridge.call(Request::CheckSignIn { server }).await.unwrap();
    let state = bridge.state().await;
    assert_eq!(pages(&state), before);
    match reply {
        Reply::SignInCheck(SignInCheck::SignedIn { account }) => {
            assert_eq!(state.servers[0].account, Some(account));
            true
        }
        Reply::SignInCheck(SignInCheck::Needed) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn accepted_account_needs_no_sign_in_even_after_restart() {
    let server = Server::start().await;
    let mut bridge = signed_in(&server).await;
    assert!(is_signed_in(&bridge).await);
    bridge.restart().await;
    assert!(is_signed_in(&bridge).await);
}

#[tokio::test]
async fn refused_token_needs_sign_in_even_after_restart() {
    let server = Server::start().await;
    let mut bridge = signed_in(&server).await;
    bridge.until(|state| *state == ServerState::Ready).await;
    server.record.end_token();
    assert!(!is_signed_in(&bridge).await);
    bridge.restart().await;
    assert!(!is_signed_in(&bridge).await);
}

#[tokio::test]
async fn unreachable_server_reports_sign_in_needed() {
    let server = Server::start().await;
    let bridge = signed_in(&server).await;
    bridge.until(|state| *state == ServerState::Ready).await;
    drop(server);
    assert!(!is_signed_in(&bridge).await);
}

#[tokio::test]
async fn missing_scope_needs_sign_in_until_granted() {
    for in_vain in [false, true] {
        let server = Server::start().await;
        let bridge = signed_in(&server).await;
        let mut host = bridge.host("one").await;
        host.initialize().await;
        match in_vain {
            false => server.record.want_scope("mcp.more"),
            true => server.record.want_scope_in_vain("mcp.more"),
        }
        host.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#)
            .await;
        bridge.until_state(|state| !state.sign_ins.is_empty()).await;
        assert!(!is_signed_in(&bridge).await, "a page waits");
        bridge.browse().await;
        let answer = host.answer(1, &mut Vec::new()).await;
        assert_eq!(answer["error"].is_object(), in_vain, "{answer}");
        // Its error tells the user to sign in again.
        assert_eq!(is_signed_in(&bridge).await, !in_vain);
    }
}

#[tokio::test]
async fn refused_calls_need_sign_in_though_lists_are_answered() {
    let server = Server::start().await;
    let bridge = signed_in(&server).await;
    let mut host = bridge.host("one").await;
    host.initialize().await;
    let _browser = bridge.follow().await;
    server.record.refuse(Refused::Calls, &[(401, "Bearer")]);
    let refused = host.request(1, "tools/call", json!({})).await;
    assert_eq!(refused["error"]["code"], 1001, "{refused}");
    assert!(!is_signed_in(&bridge).await);
}

#[tokio::test]
async fn server_without_account_needs_sign_in() {
    let server = Server::start().await;
    let bridge = Bridge::start(&server.url()).await;
    assert!(!is_signed_in(&bridge).await);
    let server = "typo".to_owned();
    let unknown = bridge.call(Request::CheckSignIn { server }).await;
    let Err(CallError::Problem(problem)) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!(problem.kind, ProblemKind::NotFound);
}
