//! One grant for several servers: what one of them refuses, the others do not notice. And tokens
//! that are refreshed beside the requests that use them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use auth::{AuthorizationError, SignInReason, Target};
use axum::http::StatusCode;
use serde_json::json;

use super::authority::{Authority, Rotation, Trouble};
use super::fixture::{Desk, reason, shown};

/// Wants `{"access_token":{"nbf":{"essential":true}}}`.
const CHALLENGE: &str = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;

/// Far longer than anything here takes: a hang is a failure, not a wait.
const LIMIT: Duration = Duration::from_secs(20);

/// Two servers of one Entra block, of which the user has signed in to the first.
async fn two_servers() -> (Desk, Target, Target) {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    let one = desk.entra_usual();
    desk.sign_in(&one).await.unwrap();
    let other = desk.beside(&one);
    assert_eq!(desk.header(&other).await, "Bearer access-1", "one grant");
    (desk, one, other)
}

async fn refuse(desk: &Desk, target: &Target, challenge: Option<&str>) {
    let used = desk.identity.authorization(target).await.unwrap().unwrap();
    desk.identity.refused(target, &used, challenge).await;
}

async fn error(desk: &Desk, target: &Target) -> AuthorizationError {
    desk.identity.authorization(target).await.unwrap_err()
}

/// The claims that a sign-in to this server asks for.
async fn claims_of_sign_in(desk: &Desk, target: &Target) -> String {
    let flow = desk.begin(target).await.unwrap();
    let claims = flow.url().query_pairs().find(|(name, _)| name == "claims");
    claims.unwrap().1.into_owned()
}

fn refreshes(desk: &Desk) -> usize {
    desk.authority.grants("refresh_token").len()
}

#[tokio::test]
async fn server_that_refuses_all_tokens_leaves_others_theirs() {
    let (desk, bad, good) = two_servers().await;
    refuse(&desk, &bad, None).await;
    assert_eq!(desk.header(&good).await, "Bearer access-1", "still good");
    assert_eq!(desk.header(&bad).await, "Bearer access-2");
    refuse(&desk, &bad, None).await;
    for _ in 0..3 {
        assert_eq!(
            reason(&desk.identity, &bad).await,
            SignInReason::KeepsRefusing
        );
        assert_eq!(desk.header(&good).await, "Bearer access-2");
    }
    assert_eq!(refreshes(&desk), 1, "one for the refusing server");

    // In that minute, what the other one needs is no news for the server that refuses.
    desk.advance(30);
    refuse(&desk, &good, None).await;
    assert_eq!(desk.header(&good).await, "Bearer access-3");
    assert_eq!(desk.header(&bad).await, "Bearer access-3", "it may like it");
    refuse(&desk, &bad, None).await;
    assert_eq!(
        reason(&desk.identity, &bad).await,
        SignInReason::KeepsRefusing
    );
    assert_eq!(desk.header(&good).await, "Bearer access-3");
    assert_eq!(refreshes(&desk), 2);

    desk.advance(60);
    assert_eq!(desk.header(&bad).await, "Bearer access-4", "once a minute");
    assert_eq!(refreshes(&desk), 3);
}

#[tokio::test]
async fn refused_claims_of_one_server_spare_the_others() {
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let answers = [
        json!({ "error": "interaction_required", "suberror": "basic_action", "claims": claims }),
        json!({ "error": "invalid_grant", "suberror": "basic_action", "claims": claims }),
        json!({ "error": "invalid_grant", "claims": claims }),
        json!({ "error": "invalid_grant" }),
        json!({ "error": "invalid_grant", "suberror": "message_only" }),
        json!({ "error": "invalid_request" }),
        json!({ "error": "server_error" }),
    ];
    let answers = answers.map(|body| Trouble::Refusal(StatusCode::BAD_REQUEST, body));
    let busy = Trouble::Busy(StatusCode::TOO_MANY_REQUESTS, Some("120"));
    for answer in answers.into_iter().chain([busy, Trouble::Portal]) {
        let (desk, bad, good) = two_servers().await;
        desk.authority.set(|b| b.claims_trouble = Some(answer));
        refuse(&desk, &bad, Some(CHALLENGE)).await;
        error(&desk, &bad).await;
        assert_eq!(refreshes(&desk), 1);
        assert_eq!(desk.header(&good).await, "Bearer access-1");
        let wanted = claims_of_sign_in(&desk, &bad).await;
        assert!(
            wanted.contains("nbf") || wanted.contains("acrs"),
            "{wanted}"
        );
        let others = claims_of_sign_in(&desk, &good).await;
        assert_eq!(others, r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#);

        // Its token ends, and is refreshed as if there were no other server.
        desk.advance(3600);
        assert_eq!(desk.header(&good).await, "Bearer access-2");
        let plain = desk.authority.grants("refresh_token").pop().unwrap();
        assert!(!plain["claims"].contains("nbf") && !plain["claims"].contains("acrs"));
        let restarted = desk.restarted().authorization(&good).await;
        assert_eq!(shown(&restarted.unwrap().unwrap()), "Bearer access-2");
    }
}

#[tokio::test]
async fn refused_claims_are_asked_for_once_a_minute() {
    let (desk, bad, good) = two_servers().await;
    let body = json!({ "error": "interaction_required" });
    let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
    desk.authority.set(|b| b.claims_trouble = Some(answer));
    refuse(&desk, &bad, Some(CHALLENGE)).await;
    for _ in 0..3 {
        let asked = reason(&desk.identity, &bad).await;
        assert_eq!(asked, SignInReason::InteractionRequired);
    }
    assert_eq!(refreshes(&desk), 1);
    desk.advance(59);
    reason(&desk.identity, &bad).await;
    assert_eq!(refreshes(&desk), 1);
    desk.advance(1);
    reason(&desk.identity, &bad).await;
    assert_eq!(refreshes(&desk), 2);
    assert_eq!(desk.header(&good).await, "Bearer access-1");

    // A sign-in that brings what it wants ends all that.
    let account = desk.sign_in(&bad).await.unwrap();
    assert_eq!(desk.header(&bad).await, "Bearer access-2");
    assert_eq!(desk.header(&good).await, "Bearer access-2");
    assert_eq!(desk.identity.account_for(&good).unwrap().key, account.key);
    assert!(!claims_of_sign_in(&desk, &bad).await.contains("nbf"));
}

#[tokio::test]
async fn claims_that_are_granted_serve_all_servers() {
    let (desk, one, other) = two_servers().await;
    refuse(&desk, &one, Some(CHALLENGE)).await;
    assert_eq!(desk.header(&other).await, "Bearer access-1");
    assert_eq!(desk.header(&one).await, "Bearer access-2");
    assert!(desk.authority.grants("refresh_token")[0]["claims"].contains("nbf"));
    assert_eq!(desk.header(&other).await, "Bearer access-2");
    desk.advance(3600);
    assert_eq!(desk.header(&one).await, "Bearer access-3");
    let later = desk.authority.grants("refresh_token").pop().unwrap();
    assert!(!later["claims"].contains("nbf"), "they were answered");
}

#[tokio::test]
async fn refresh_token_that_is_named_dead_is_dead_for_all() {
    for suberror in ["bad_token", "token_expired"] {
        let (desk, one, other) = two_servers().await;
        let body = json!({ "error": "invalid_grant", "suberror": suberror });
        let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
        desk.authority.set(|b| b.claims_trouble = Some(answer));
        refuse(&desk, &one, Some(CHALLENGE)).await;
        assert_eq!(reason(&desk.identity, &one).await, SignInReason::Revoked);
        assert!(!desk.identity.has_ended(&other));
        assert_eq!(desk.header(&other).await, "Bearer access-1");
        desk.advance(3600);
        assert_eq!(reason(&desk.identity, &other).await, SignInReason::Revoked);
        assert!(desk.identity.has_ended(&other));
        assert_eq!(refreshes(&desk), 1, "it is not used again");
    }
}

#[tokio::test]
async fn new_sign_in_clears_refusals_of_all_servers() {
    let (desk, bad, good) = two_servers().await;
    for target in [&bad, &bad] {
        refuse(&desk, target, None).await;
        desk.identity.authorization(target).await.ok();
    }
    assert_eq!(
        reason(&desk.identity, &bad).await,
        SignInReason::KeepsRefusing
    );
    desk.sign_in(&good).await.unwrap();
    assert_eq!(desk.header(&bad).await, "Bearer access-3");
    refuse(&desk, &bad, None).await;
    assert_eq!(desk.header(&bad).await, "Bearer access-4", "once more");
}

#[tokio::test]
async fn token_that_is_refused_at_its_end_is_refreshed_each_time() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.lifetime = 30);
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    for number in 1..5 {
        // No request comes in time to refresh it beside.
        let used = desk.identity.authorization(&target).await.unwrap().unwrap();
        assert_eq!(shown(&used), format!("Bearer access-{number}"));
        desk.advance(25);
        desk.identity.refused(&target, &used, None).await;
    }
    assert_eq!(desk.header(&target).await, "Bearer access-5");
    assert_eq!(refreshes(&desk), 4);
}

#[tokio::test]
async fn consents_endpoint_that_refuses_leaves_server_its_token() {
    let desk = Desk::new().await;
    let foreign = Authority::start().await;
    let elsewhere = format!("{}/account/consents", foreign.origin);
    desk.authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.identity.consents(&target).await.unwrap_err();
    assert_eq!(refreshes(&desk), 1);
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    desk.identity.consents(&target).await.unwrap_err();
    assert_eq!(refreshes(&desk), 1, "no third token");
}

#[tokio::test]
async fn usable_token_is_ready_at_first_poll_while_it_is_refreshed() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.refresh_in = Some(60));
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.advance(60);
    let permits = desk.authority.hold_back();
    for _ in 0..50 {
        let asking = pin!(desk.identity.authorization(&target));
        let polled = asking.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(found) = polled else {
            panic!("not ready at the first poll");
        };
        assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-1");
    }
    desk.authority.asked_for("refresh_token").await;
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    let settling = {
        let identity = desk.identity.clone();
        tokio::spawn(async move { identity.settled().await })
    };
    tokio::task::yield_now().await;
    assert!(!settling.is_finished(), "the end waits for it");
    desk.authority.gate.add_permits(permits);
    tokio::time::timeout(LIMIT, settling)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    assert_eq!(refreshes(&desk), 1, "one for 51 requests");
    let kept = desk.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&kept.unwrap()), "Bearer access-2");
}

#[tokio::test]
async fn caller_with_expired_token_takes_outcome_of_refresh_under_way() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    desk.advance(3500);
    let permits = desk.authority.hold_back();
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    desk.authority.asked_for("refresh_token").await;
    desk.advance(100);
    let waiting = {
        let (identity, target) = (desk.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    desk.authority.gate.add_permits(permits);
    let found = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-2");
    assert_eq!(refreshes(&desk), 1);
}

#[tokio::test]
async fn refused_token_waits_for_another_and_the_rest_does_not() {
    let (desk, one, other) = two_servers().await;
    let permits = desk.authority.hold_back();
    refuse(&desk, &one, None).await;
    let waiting = {
        let (identity, one) = (desk.identity.clone(), one.clone());
        tokio::spawn(async move { identity.authorization(&one).await })
    };
    desk.authority.asked_for("refresh_token").await;
    assert_eq!(desk.header(&other).await, "Bearer access-1");
    assert!(!waiting.is_finished());
    desk.authority.gate.add_permits(permits);
    let found = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-2");
}

#[tokio::test]
async fn error_of_expired_token_names_authorization_server() {
    let (desk, one, _) = two_servers().await;
    desk.advance(3600);
    let busy = Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None);
    desk.authority.set(|b| b.trouble = Some(busy));
    let AuthorizationError::Unreachable { issuer, .. } = error(&desk, &one).await else {
        panic!("the authorization server is away");
    };
    assert!(issuer.ends_with("/v2.0"), "{issuer}");
    let told = error(&desk, &one).await.to_string();
    assert!(
        told.contains(&format!("authorization server {issuer}:")),
        "{told}"
    );
}

#[tokio::test]
async fn refused_plain_refresh_still_counts_for_all() {
    let (desk, one, other) = two_servers().await;
    let claims = r#"{"access_token":{"capolids":{"essential":true}}}"#;
    let body = json!({ "error": "interaction_required", "claims": claims });
    let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
    desk.authority.set(|b| b.trouble = Some(answer));
    desk.advance(3600);
    for target in [&one, &other] {
        let asked = reason(&desk.identity, target).await;
        assert_eq!(asked, SignInReason::InteractionRequired);
    }
    assert_eq!(refreshes(&desk), 1, "the same question");
    for target in [&one, &other] {
        let claims = claims_of_sign_in(&desk, target).await;
        assert!(claims.contains("capolids"), "{claims}");
    }
}
