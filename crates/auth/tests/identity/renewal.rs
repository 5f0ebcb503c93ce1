//! Refreshing.

use auth::{AuthorizationError, SignInReason};
use axum::http::StatusCode;
use serde_json::json;

use super::authority::{Rotation, Trouble};
use super::fixture::{Fixture, reason, shown};

async fn signed_in() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.sign_in(&fixture.target()).await.unwrap();
    fixture
}

fn refusal(error: &str) -> Trouble {
    Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": error }))
}

async fn needed(fixture: &Fixture) -> SignInReason {
    reason(&fixture.identity, &fixture.target()).await
}

#[tokio::test]
async fn concurrent_callers_share_one_refresh() {
    let fixture = signed_in().await;
    let target = fixture.target();
    fixture.advance(3600);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (identity, target) = (fixture.identity.clone(), target.clone());
            tokio::spawn(async move { identity.authorization(&target).await })
        })
        .collect();
    for task in asking {
        let authorization = task.await.unwrap().unwrap().unwrap();
        assert_eq!(shown(&authorization), "Bearer access-2");
    }
    assert_eq!(fixture.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn concurrent_callers_share_one_error() {
    let fixture = signed_in().await;
    fixture.advance(3600);
    fixture.authority.set(|b| b.trouble = Some(Trouble::Portal));
    let permits = fixture.authority.hold_back();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (identity, target) = (fixture.identity.clone(), fixture.target());
            tokio::spawn(async move { identity.authorization(&target).await })
        })
        .collect();
    fixture.authority.asked_for("refresh_token").await;
    fixture.authority.gate.add_permits(permits);
    for task in asking {
        let outcome = task.await.unwrap();
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Unreachable { .. })
        ));
    }
    assert_eq!(fixture.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn token_is_refreshed_before_expiry() {
    let fixture = signed_in().await;
    let target = fixture.target();
    fixture.advance(3299);
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
    fixture.advance(1);
    fixture.authority.set(|b| b.refresh_in = Some(100));
    let after = fixture
        .header_after_refresh(&target, "Bearer access-1")
        .await;
    assert_eq!(after, "Bearer access-2");
    fixture.advance(99);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    fixture.advance(1);
    let after = fixture
        .header_after_refresh(&target, "Bearer access-2")
        .await;
    assert_eq!(after, "Bearer access-3");
    let tokens = fixture.authority.grants("refresh_token");
    let used: Vec<_> = tokens.iter().map(|asked| &asked["refresh_token"]).collect();
    assert_eq!(used, ["refresh-1", "refresh-2"], "each is used once");
    let later = fixture.restarted();
    fixture.advance(3600);
    let authorization = later.authorization(&target).await.unwrap().unwrap();
    assert_eq!(
        shown(&authorization),
        "Bearer access-4",
        "the newest was kept"
    );
    assert_eq!(fixture.authority.asked("authorize").len(), 1);
}

#[tokio::test]
async fn refresh_token_without_rotation_stays() {
    let fixture = signed_in().await;
    fixture.authority.set(|b| b.rotation = Rotation::None);
    for number in 2..5 {
        fixture.advance(3600);
        assert_eq!(
            fixture.header(&fixture.target()).await,
            format!("Bearer access-{number}")
        );
    }
}

#[tokio::test]
async fn only_refused_refresh_ends_sign_in() {
    let fixture = signed_in().await;
    let target = fixture.target();
    fixture.advance(3600);
    for trouble in [
        Trouble::Portal,
        Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None),
        Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": "server_error" })),
    ] {
        fixture.authority.set(|b| b.trouble = Some(trouble));
        let outcome = fixture.identity.authorization(&target).await;
        assert!(
            matches!(outcome, Err(AuthorizationError::Unreachable { .. })),
            "{outcome:?}"
        );
        fixture.advance(60);
    }
    fixture.authority.set(|b| b.trouble = None);
    assert_eq!(
        fixture.header(&target).await,
        "Bearer access-2",
        "nothing was lost"
    );

    fixture.advance(3600);
    fixture
        .authority
        .set(|b| b.trouble = Some(refusal("invalid_grant")));
    assert_eq!(needed(&fixture).await, SignInReason::Revoked);
    let asked = fixture.authority.grants("refresh_token").len();
    fixture.advance(3600);
    assert_eq!(needed(&fixture).await, SignInReason::Revoked);
    let restarted = fixture.restarted().authorization(&target).await;
    assert!(matches!(
        restarted,
        Err(AuthorizationError::SignInNeeded { .. })
    ));
    assert_eq!(
        fixture.authority.grants("refresh_token").len(),
        asked,
        "a dead one is not used"
    );

    fixture.authority.set(|b| b.trouble = None);
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(fixture.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn valid_token_is_used_while_refresh_fails() {
    let fixture = signed_in().await;
    let target = fixture.target();
    let renewals = || fixture.authority.grants("refresh_token").len();
    fixture.advance(3300);
    fixture.authority.set(|b| b.trouble = Some(Trouble::Portal));
    for _ in 0..2 {
        let after = fixture
            .header_after_refresh(&target, "Bearer access-1")
            .await;
        assert_eq!(after, "Bearer access-1");
    }
    fixture.identity.settled().await;
    assert_eq!(renewals(), 1, "not with every request");
    fixture.advance(30);
    let after = fixture
        .header_after_refresh(&target, "Bearer access-1")
        .await;
    assert_eq!(after, "Bearer access-1");
    assert_eq!(renewals(), 2);
    fixture
        .authority
        .set(|b| b.trouble = Some(refusal("invalid_grant")));
    fixture.advance(30);
    let after = fixture
        .header_after_refresh(&target, "Bearer access-1")
        .await;
    assert_eq!(after, "Bearer access-1", "only its renewal is refused");
    fixture.advance(3600);
    assert_eq!(needed(&fixture).await, SignInReason::Revoked);
}

#[tokio::test]
async fn retry_after_is_respected() {
    let fixture = signed_in().await;
    let target = fixture.target();
    let renewals = || fixture.authority.grants("refresh_token").len();
    fixture.advance(3600);
    let busy = Trouble::Busy(StatusCode::TOO_MANY_REQUESTS, Some("120"));
    fixture.authority.set(|b| b.trouble = Some(busy));
    for wait in [0, 119] {
        fixture.advance(wait);
        let outcome = fixture.identity.authorization(&target).await;
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Unreachable { retry_after: Some(wait), .. }) if wait.as_secs() == 120
        ));
        assert_eq!(renewals(), 1);
    }
    fixture
        .authority
        .set(|b| b.trouble = Some(refusal("invalid_scope")));
    fixture.advance(1);
    for wait in [0, 59] {
        fixture.advance(wait);
        let outcome = fixture.identity.authorization(&target).await;
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Misconfigured { .. })
        ));
        assert_eq!(renewals(), 2, "the same question within a minute");
    }
    fixture.authority.set(|b| b.trouble = None);
    fixture.advance(1);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
}

#[tokio::test]
async fn second_factor_needs_user_and_keeps_grant() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.issuer = None);
    let target = fixture.entra_usual();
    fixture.sign_in(&target).await.unwrap();
    fixture.advance(3600);
    let claims = r#"{"access_token":{"capolids":{"essential":true}}}"#;
    let body = json!({
        "error": "interaction_required", "suberror": "basic_action", "claims": claims,
        "error_description": "AADSTS50076: Due to a configuration change …", "error_codes": [50076],
    });
    fixture
        .authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, body)));
    let outcome = fixture.identity.authorization(&target).await;
    assert!(matches!(
        outcome,
        Err(AuthorizationError::SignInNeeded {
            reason: SignInReason::InteractionRequired,
            ..
        })
    ));
    let flow = fixture.begin(&target).await.unwrap();
    let asked = flow.url().query_pairs().find(|(name, _)| name == "claims");
    let asked: serde_json::Value = serde_json::from_str(&asked.unwrap().1).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(claims).unwrap();
    assert_eq!(
        asked["access_token"]["capolids"], wanted["access_token"]["capolids"],
        "the next sign-in satisfies it"
    );
    fixture.authority.set(|b| b.trouble = None);
    fixture.advance(60);
    assert_eq!(
        fixture.header(&target).await,
        "Bearer access-2",
        "the refresh token lived on"
    );
}

#[tokio::test]
async fn refused_access_token_is_refreshed_once() {
    let fixture = signed_in().await;
    let target = fixture.target();
    let first = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    for _ in 0..3 {
        fixture.identity.refused(&target, &first, None).await;
        assert_eq!(
            fixture.header(&target).await,
            "Bearer access-2",
            "a newer one is not dropped"
        );
    }
    assert_eq!(fixture.authority.grants("refresh_token").len(), 1);

    let second = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    fixture.identity.refused(&target, &second, None).await;
    assert_eq!(needed(&fixture).await, SignInReason::KeepsRefusing);
    assert_eq!(
        fixture.authority.grants("refresh_token").len(),
        1,
        "no loop"
    );
    fixture.advance(61);
    assert_eq!(fixture.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn cancelled_caller_does_not_lose_tokens() {
    let fixture = signed_in().await;
    let target = fixture.target();
    fixture.advance(3600);
    let permits = fixture.authority.hold_back();
    let leaving = {
        let (identity, target) = (fixture.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    fixture.authority.asked_for("refresh_token").await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    fixture.authority.gate.add_permits(permits);
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    assert_eq!(
        fixture.authority.grants("refresh_token").len(),
        1,
        "its answer was used"
    );
    let kept = fixture
        .restarted()
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown(&kept), "Bearer access-2");
}

#[tokio::test]
async fn settled_waits_for_background_refresh() {
    let fixture = signed_in().await;
    let target = fixture.target();
    fixture.advance(3600);
    let permits = fixture.authority.hold_back();
    let leaving = {
        let (identity, target) = (fixture.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    fixture.authority.asked_for("refresh_token").await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    let settling = {
        let identity = fixture.identity.clone();
        tokio::spawn(async move { identity.settled().await })
    };
    tokio::task::yield_now().await;
    assert!(!settling.is_finished());
    fixture.authority.gate.add_permits(permits);
    settling.await.unwrap();
    let kept = fixture.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&kept.unwrap()), "Bearer access-2");
    assert_eq!(fixture.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn sign_out_during_refresh_wins() {
    let fixture = signed_in().await;
    let target = fixture.target();
    let account = fixture.identity.account_for(&target).unwrap();
    fixture.advance(3600);
    let permits = fixture.authority.hold_back();
    let renewing = {
        let (identity, target) = (fixture.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    fixture.authority.asked_for("refresh_token").await;
    let signing_out = {
        let identity = fixture.identity.clone();
        tokio::spawn(async move { identity.sign_out(&account.key).await })
    };
    fixture.authority.gate.add_permits(permits);
    renewing.await.unwrap().ok();
    signing_out.await.unwrap().unwrap();
    assert_eq!(needed(&fixture).await, SignInReason::NotSignedIn);
    assert!(fixture.restarted().accounts().await.is_empty());
}

#[tokio::test]
async fn empty_refresh_token_is_ignored() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.rotation = Rotation::Empty);
    fixture.sign_in(&fixture.target()).await.unwrap();
    fixture.advance(3599);
    assert_eq!(fixture.header(&fixture.target()).await, "Bearer access-1");
    fixture.advance(1);
    assert_eq!(needed(&fixture).await, SignInReason::Expired);
    assert!(fixture.authority.grants("refresh_token").is_empty());
}

#[tokio::test]
async fn claims_challenge_is_sent_with_refresh_then_sign_in() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.issuer = None);
    let target = fixture.entra_usual();
    fixture.sign_in(&target).await.unwrap();
    let first = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    // {"access_token":{"nbf":{"essential":true}}}
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;
    fixture
        .identity
        .refused(&target, &first, Some(challenge))
        .await;
    assert_eq!(fixture.header(&target).await, "Bearer access-2");
    let renewal = fixture.authority.grants("refresh_token").pop().unwrap();
    assert_eq!(
        renewal["claims"],
        r#"{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#
    );

    // If no refresh satisfies the challenge, the user must sign in.
    let second = fixture
        .identity
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    let refused = json!({ "error": "invalid_grant", "suberror": "basic_action" });
    fixture
        .authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, refused)));
    fixture.advance(60);
    fixture
        .identity
        .refused(&target, &second, Some(challenge))
        .await;
    fixture.identity.authorization(&target).await.unwrap_err();
    let flow = fixture.begin(&target).await.unwrap();
    let asked = flow.url().query_pairs().find(|(name, _)| name == "claims");
    assert!(asked.unwrap().1.contains("nbf"));
}
