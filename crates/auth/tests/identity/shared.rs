//! One grant for several servers, which do not affect each other, and background refreshes.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use auth::{AuthorizationError, SignInReason, Target};
use axum::http::StatusCode;
use serde_json::json;

use super::authority::{Authority, Rotation, Trouble};
use super::fixture::{Fixture, reason, shown};

/// Requires `{"access_token":{"nbf":{"essential":true}}}`.
const CHALLENGE: &str = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;

/// Much longer than anything here takes. A hang fails.
const LIMIT: Duration = Duration::from_secs(20);

/// Returns two servers of one Entra client. The user has signed in to the first.
async fn two_servers() -> (Fixture, Target, Target) {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    let one = fixture.entra_usual();
    fixture.sign_in(&one).await.unwrap();
    let other = fixture.beside(&one);
    assert_eq!(fixture.header(&other).await, "Bearer access-1", "one grant");
    (fixture, one, other)
}

async fn refuse(fixture: &Fixture, target: &Target, challenge: Option<&str>) {
    let used = fixture
        .identity
        .authorization(target)
        .await
        .unwrap()
        .unwrap();
    fixture.identity.refused(target, &used, challenge).await;
}

async fn error(fixture: &Fixture, target: &Target) -> AuthorizationError {
    fixture.identity.authorization(target).await.unwrap_err()
}

/// Returns the claims of a sign-in to this server.
async fn claims_of_sign_in(fixture: &Fixture, target: &Target) -> String {
    let flow = fixture.begin(target).await.unwrap();
    let claims = flow.url().query_pairs().find(|(name, _)| name == "claims");
    claims.unwrap().1.into_owned()
}

fn refreshes(fixture: &Fixture) -> usize {
    fixture.authority.grants("refresh_token").len()
}

#[tokio::test]
async fn server_that_refuses_all_tokens_does_not_affect_others() {
    let (fixture, bad, good) = two_servers().await;
    refuse(&fixture, &bad, None).await;
    assert_eq!(fixture.header(&good).await, "Bearer access-1", "still good");
    assert_eq!(fixture.header(&bad).await, "Bearer access-2");
    refuse(&fixture, &bad, None).await;
    for _ in 0..3 {
        assert_eq!(
            reason(&fixture.identity, &bad).await,
            SignInReason::KeepsRefusing
        );
        assert_eq!(fixture.header(&good).await, "Bearer access-2");
    }
    assert_eq!(refreshes(&fixture), 1, "one for the refusing server");

    // In that minute, the needs of the other server change nothing for the server that refuses.
    fixture.advance(30);
    refuse(&fixture, &good, None).await;
    assert_eq!(fixture.header(&good).await, "Bearer access-3");
    assert_eq!(
        fixture.header(&bad).await,
        "Bearer access-3",
        "it may like it"
    );
    refuse(&fixture, &bad, None).await;
    assert_eq!(
        reason(&fixture.identity, &bad).await,
        SignInReason::KeepsRefusing
    );
    assert_eq!(fixture.header(&good).await, "Bearer access-3");
    assert_eq!(refreshes(&fixture), 2);

    fixture.advance(60);
    assert_eq!(
        fixture.header(&bad).await,
        "Bearer access-4",
        "once a minute"
    );
    assert_eq!(refreshes(&fixture), 3);
}

#[tokio::test]
async fn refused_claims_do_not_affect_other_servers() {
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
        let (fixture, bad, good) = two_servers().await;
        fixture.authority.set(|b| b.claims_trouble = Some(answer));
        refuse(&fixture, &bad, Some(CHALLENGE)).await;
        error(&fixture, &bad).await;
        assert_eq!(refreshes(&fixture), 1);
        assert_eq!(fixture.header(&good).await, "Bearer access-1");
        let wanted = claims_of_sign_in(&fixture, &bad).await;
        assert!(
            wanted.contains("nbf") || wanted.contains("acrs"),
            "{wanted}"
        );
        let others = claims_of_sign_in(&fixture, &good).await;
        assert_eq!(others, r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#);

        // The other server's token expires and is refreshed independently.
        fixture.advance(3600);
        assert_eq!(fixture.header(&good).await, "Bearer access-2");
        let plain = fixture.authority.grants("refresh_token").pop().unwrap();
        assert!(!plain["claims"].contains("nbf") && !plain["claims"].contains("acrs"));
        let restarted = fixture.restarted().authorization(&good).await;
        assert_eq!(shown(&restarted.unwrap().unwrap()), "Bearer access-2");
    }
}

#[tokio::test]
async fn refused_claims_are_requested_once_per_minute() {
    let (fixture, bad, good) = two_servers().await;
    let body = json!({ "error": "interaction_required" });
    let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
    fixture.authority.set(|b| b.claims_trouble = Some(answer));
    refuse(&fixture, &bad, Some(CHALLENGE)).await;
    for _ in 0..3 {
        let asked = reason(&fixture.identity, &bad).await;
        assert_eq!(asked, SignInReason::InteractionRequired);
    }
    assert_eq!(refreshes(&fixture), 1);
    fixture.advance(59);
    reason(&fixture.identity, &bad).await;
    assert_eq!(refreshes(&fixture), 1);
    fixture.advance(1);
    reason(&fixture.identity, &bad).await;
    assert_eq!(refreshes(&fixture), 2);
    assert_eq!(fixture.header(&good).await, "Bearer access-1");

    // A sign-in with the claims ends all that.
    let account = fixture.sign_in(&bad).await.unwrap();
    assert_eq!(fixture.header(&bad).await, "Bearer access-2");
    assert_eq!(fixture.header(&good).await, "Bearer access-2");
    assert_eq!(
        fixture.identity.account_for(&good).unwrap().key,
        account.key
    );
    assert!(!claims_of_sign_in(&fixture, &bad).await.contains("nbf"));
}

#[tokio::test]
async fn granted_claims_serve_all_servers() {
    let (fixture, one, other) = two_servers().await;
    refuse(&fixture, &one, Some(CHALLENGE)).await;
    assert_eq!(fixture.header(&other).await, "Bearer access-1");
    assert_eq!(fixture.header(&one).await, "Bearer access-2");
    assert!(fixture.authority.grants("refresh_token")[0]["claims"].contains("nbf"));
    assert_eq!(fixture.header(&other).await, "Bearer access-2");
    fixture.advance(3600);
    assert_eq!(fixture.header(&one).await, "Bearer access-3");
    let later = fixture.authority.grants("refresh_token").pop().unwrap();
    assert!(!later["claims"].contains("nbf"), "they were answered");
}

#[tokio::test]
async fn invalid_refresh_token_ends_grant_for_all() {
    for suberror in ["bad_token", "token_expired"] {
        let (fixture, one, other) = two_servers().await;
        let body = json!({ "error": "invalid_grant", "suberror": suberror });
        let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
        fixture.authority.set(|b| b.claims_trouble = Some(answer));
        refuse(&fixture, &one, Some(CHALLENGE)).await;
        assert_eq!(reason(&fixture.identity, &one).await, SignInReason::Revoked);
        assert!(!fixture.identity.has_ended(&other));
        assert_eq!(fixture.header(&other).await, "Bearer access-1");
        fixture.advance(3600);
        assert_eq!(
            reason(&fixture.identity, &other).await,
            SignInReason::Revoked
        );
        assert!(fixture.identity.has_ended(&other));
        assert_eq!(refreshes(&fixture), 1, "it is not used again");
    }
}

#[tokio::test]
async fn new_sign_in_clears_refusals_of_all_servers() {
    let (fixture, bad, good) = two_servers().await;
    for target in [&bad, &bad] {
        refuse(&fixture, target, None).await;
        fixture.identity.authorization(target).await.ok();
    }
    assert_eq!(
        reason(&fixture.identity, &bad).await,
        SignInReason::KeepsRefusing
    );
    fixture.sign_in(&good).await.unwrap();
    assert_eq!(fixture.header(&bad).await, "Bearer access-3");
    refuse(&fixture, &bad, None).await;
    assert_eq!(fixture.header(&bad).await, "Bearer access-4", "once more");
}

#[tokio::test]
async fn expiring_refused_token_is_refreshed_each_time() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.lifetime = 30);
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    for number in 1..5 {
        // No request arrives in time for a background refresh.
        let used = fixture
            .identity
            .authorization(&target)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(shown(&used), format!("Bearer access-{number}"));
        fixture.advance(25);
        fixture.identity.refused(&target, &used, None).await;
    }
    assert_eq!(fixture.header(&target).await, "Bearer access-5");
    assert_eq!(refreshes(&fixture), 4);
}

#[tokio::test]
async fn consents_endpoint_refusal_keeps_server_token() {
    let fixture = Fixture::new().await;
    let foreign = Authority::start().await;
    let elsewhere = format!("{}/account/consents", foreign.origin);
    fixture
        .authority
        .set(|b| b.metadata["consents_endpoint"] = json!(elsewhere));
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.identity.consents(&target).await.unwrap_err();
    assert_eq!(refreshes(&fixture), 1);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    fixture.identity.consents(&target).await.unwrap_err();
    assert_eq!(refreshes(&fixture), 1, "no third token");
}

#[tokio::test]
async fn valid_token_is_ready_at_first_poll() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.refresh_in = Some(60));
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.advance(60);
    let permits = fixture.authority.hold_back();
    for _ in 0..50 {
        let asking = pin!(fixture.identity.authorization(&target));
        let polled = asking.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(found) = polled else {
            panic!("not ready at the first poll");
        };
        assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-1");
    }
    fixture.authority.asked_for("refresh_token").await;
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    let settling = {
        let identity = fixture.identity.clone();
        tokio::spawn(async move { identity.settled().await })
    };
    tokio::task::yield_now().await;
    assert!(!settling.is_finished(), "the end waits for it");
    fixture.authority.gate.add_permits(permits);
    tokio::time::timeout(LIMIT, settling)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    assert_eq!(refreshes(&fixture), 1, "one for 51 requests");
    let kept = fixture.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&kept.unwrap()), "Bearer access-2");
}

#[tokio::test]
async fn caller_joins_refresh_in_progress() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    fixture.advance(3500);
    let permits = fixture.authority.hold_back();
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    fixture.authority.asked_for("refresh_token").await;
    fixture.advance(100);
    let waiting = {
        let (identity, target) = (fixture.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    fixture.authority.gate.add_permits(permits);
    let found = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-2");
    assert_eq!(refreshes(&fixture), 1);
}

#[tokio::test]
async fn only_refused_server_waits_for_refresh() {
    let (fixture, one, other) = two_servers().await;
    let permits = fixture.authority.hold_back();
    refuse(&fixture, &one, None).await;
    let waiting = {
        let (identity, one) = (fixture.identity.clone(), one.clone());
        tokio::spawn(async move { identity.authorization(&one).await })
    };
    fixture.authority.asked_for("refresh_token").await;
    assert_eq!(fixture.header(&other).await, "Bearer access-1");
    assert!(!waiting.is_finished());
    fixture.authority.gate.add_permits(permits);
    let found = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(shown(&found.unwrap().unwrap()), "Bearer access-2");
}

#[tokio::test]
async fn expired_token_error_names_authorization_server() {
    let (fixture, one, _) = two_servers().await;
    fixture.advance(3600);
    let busy = Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None);
    fixture.authority.set(|b| b.trouble = Some(busy));
    let AuthorizationError::Unreachable { issuer, .. } = error(&fixture, &one).await else {
        panic!("the authorization server is away");
    };
    assert!(issuer.ends_with("/v2.0"), "{issuer}");
    let told = error(&fixture, &one).await.to_string();
    assert!(
        told.contains(&format!("authorization server {issuer}:")),
        "{told}"
    );
}

#[tokio::test]
async fn refused_refresh_without_claims_counts_for_all() {
    let (fixture, one, other) = two_servers().await;
    let claims = r#"{"access_token":{"capolids":{"essential":true}}}"#;
    let body = json!({ "error": "interaction_required", "claims": claims });
    let answer = Trouble::Refusal(StatusCode::BAD_REQUEST, body);
    fixture.authority.set(|b| b.trouble = Some(answer));
    fixture.advance(3600);
    for target in [&one, &other] {
        let asked = reason(&fixture.identity, target).await;
        assert_eq!(asked, SignInReason::InteractionRequired);
    }
    assert_eq!(refreshes(&fixture), 1, "the same question");
    for target in [&one, &other] {
        let claims = claims_of_sign_in(&fixture, target).await;
        assert!(claims.contains("capolids"), "{claims}");
    }
}
