//! Staying signed in.

use auth::{AuthorizationError, SignInReason};
use axum::http::StatusCode;
use serde_json::json;

use super::authority::{Rotation, Trouble};
use super::fixture::{Desk, reason, shown};

async fn signed_in() -> Desk {
    let desk = Desk::new().await;
    desk.sign_in(&desk.target()).await.unwrap();
    desk
}

fn refusal(error: &str) -> Trouble {
    Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": error }))
}

async fn needed(desk: &Desk) -> SignInReason {
    reason(&desk.identity, &desk.target()).await
}

#[tokio::test]
async fn many_who_ask_cause_one_renewal() {
    let desk = signed_in().await;
    let target = desk.target();
    desk.advance(3600);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (identity, target) = (desk.identity.clone(), target.clone());
            tokio::spawn(async move { identity.authorization(&target).await })
        })
        .collect();
    for task in asking {
        let authorization = task.await.unwrap().unwrap().unwrap();
        assert_eq!(shown(&authorization), "Bearer access-2");
    }
    assert_eq!(desk.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn many_who_ask_share_one_failure() {
    let desk = signed_in().await;
    desk.advance(3600);
    desk.authority.set(|b| b.trouble = Some(Trouble::Portal));
    let permits = desk.authority.hold_back();
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (identity, target) = (desk.identity.clone(), desk.target());
            tokio::spawn(async move { identity.authorization(&target).await })
        })
        .collect();
    desk.authority.asked_for("refresh_token").await;
    desk.authority.gate.add_permits(permits);
    for task in asking {
        let outcome = task.await.unwrap();
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Unreachable { .. })
        ));
    }
    assert_eq!(desk.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn the_refresh_token_is_used_in_time_and_nobody_signs_in_again() {
    let desk = signed_in().await;
    let target = desk.target();
    desk.advance(3299);
    assert_eq!(desk.header(&target).await, "Bearer access-1");
    desk.advance(1);
    desk.authority.set(|b| b.refresh_in = Some(100));
    let after = desk.header_after_refresh(&target, "Bearer access-1").await;
    assert_eq!(after, "Bearer access-2");
    desk.advance(99);
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    desk.advance(1);
    let after = desk.header_after_refresh(&target, "Bearer access-2").await;
    assert_eq!(after, "Bearer access-3");
    let tokens = desk.authority.grants("refresh_token");
    let used: Vec<_> = tokens.iter().map(|asked| &asked["refresh_token"]).collect();
    assert_eq!(used, ["refresh-1", "refresh-2"], "each is used once");
    let later = desk.restarted();
    desk.advance(3600);
    let authorization = later.authorization(&target).await.unwrap().unwrap();
    assert_eq!(
        shown(&authorization),
        "Bearer access-4",
        "the newest was kept"
    );
    assert_eq!(desk.authority.asked("authorize").len(), 1);
}

#[tokio::test]
async fn a_refresh_token_that_is_not_replaced_stays() {
    let desk = signed_in().await;
    desk.authority.set(|b| b.rotation = Rotation::None);
    for number in 2..5 {
        desk.advance(3600);
        assert_eq!(
            desk.header(&desk.target()).await,
            format!("Bearer access-{number}")
        );
    }
}

#[tokio::test]
async fn a_passing_fault_while_renewing_costs_no_sign_in_and_a_refusal_does() {
    let desk = signed_in().await;
    let target = desk.target();
    desk.advance(3600);
    for trouble in [
        Trouble::Portal,
        Trouble::Busy(StatusCode::SERVICE_UNAVAILABLE, None),
        Trouble::Refusal(StatusCode::BAD_REQUEST, json!({ "error": "server_error" })),
    ] {
        desk.authority.set(|b| b.trouble = Some(trouble));
        let outcome = desk.identity.authorization(&target).await;
        assert!(
            matches!(outcome, Err(AuthorizationError::Unreachable { .. })),
            "{outcome:?}"
        );
        desk.advance(60);
    }
    desk.authority.set(|b| b.trouble = None);
    assert_eq!(
        desk.header(&target).await,
        "Bearer access-2",
        "nothing was lost"
    );

    desk.advance(3600);
    desk.authority
        .set(|b| b.trouble = Some(refusal("invalid_grant")));
    assert_eq!(needed(&desk).await, SignInReason::Revoked);
    let asked = desk.authority.grants("refresh_token").len();
    desk.advance(3600);
    assert_eq!(needed(&desk).await, SignInReason::Revoked);
    let restarted = desk.restarted().authorization(&target).await;
    assert!(matches!(
        restarted,
        Err(AuthorizationError::SignInNeeded { .. })
    ));
    assert_eq!(
        desk.authority.grants("refresh_token").len(),
        asked,
        "a dead one is not used"
    );

    desk.authority.set(|b| b.trouble = None);
    desk.sign_in(&target).await.unwrap();
    assert_eq!(desk.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn the_old_token_serves_while_it_lives() {
    let desk = signed_in().await;
    let target = desk.target();
    let renewals = || desk.authority.grants("refresh_token").len();
    desk.advance(3300);
    desk.authority.set(|b| b.trouble = Some(Trouble::Portal));
    for _ in 0..2 {
        let after = desk.header_after_refresh(&target, "Bearer access-1").await;
        assert_eq!(after, "Bearer access-1");
    }
    desk.identity.settled().await;
    assert_eq!(renewals(), 1, "not with every request");
    desk.advance(30);
    let after = desk.header_after_refresh(&target, "Bearer access-1").await;
    assert_eq!(after, "Bearer access-1");
    assert_eq!(renewals(), 2);
    desk.authority
        .set(|b| b.trouble = Some(refusal("invalid_grant")));
    desk.advance(30);
    let after = desk.header_after_refresh(&target, "Bearer access-1").await;
    assert_eq!(after, "Bearer access-1", "only its renewal is refused");
    desk.advance(3600);
    assert_eq!(needed(&desk).await, SignInReason::Revoked);
}

#[tokio::test]
async fn a_server_that_asks_for_quiet_gets_it() {
    let desk = signed_in().await;
    let target = desk.target();
    let renewals = || desk.authority.grants("refresh_token").len();
    desk.advance(3600);
    let busy = Trouble::Busy(StatusCode::TOO_MANY_REQUESTS, Some("120"));
    desk.authority.set(|b| b.trouble = Some(busy));
    for wait in [0, 119] {
        desk.advance(wait);
        let outcome = desk.identity.authorization(&target).await;
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Unreachable { retry_after: Some(wait), .. }) if wait.as_secs() == 120
        ));
        assert_eq!(renewals(), 1);
    }
    desk.authority
        .set(|b| b.trouble = Some(refusal("invalid_scope")));
    desk.advance(1);
    for wait in [0, 59] {
        desk.advance(wait);
        let outcome = desk.identity.authorization(&target).await;
        assert!(matches!(
            outcome,
            Err(AuthorizationError::Misconfigured { .. })
        ));
        assert_eq!(renewals(), 2, "the same question within a minute");
    }
    desk.authority.set(|b| b.trouble = None);
    desk.advance(1);
    assert_eq!(desk.header(&target).await, "Bearer access-2");
}

#[tokio::test]
async fn a_second_factor_needs_a_person_and_costs_nothing() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.issuer = None);
    let target = desk.entra_usual();
    desk.sign_in(&target).await.unwrap();
    desk.advance(3600);
    let claims = r#"{"access_token":{"capolids":{"essential":true}}}"#;
    let body = json!({
        "error": "interaction_required", "suberror": "basic_action", "claims": claims,
        "error_description": "AADSTS50076: Due to a configuration change …", "error_codes": [50076],
    });
    desk.authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, body)));
    let outcome = desk.identity.authorization(&target).await;
    assert!(matches!(
        outcome,
        Err(AuthorizationError::SignInNeeded {
            reason: SignInReason::InteractionRequired,
            ..
        })
    ));
    let flow = desk.begin(&target).await.unwrap();
    let asked = flow.url().query_pairs().find(|(name, _)| name == "claims");
    let asked: serde_json::Value = serde_json::from_str(&asked.unwrap().1).unwrap();
    let wanted: serde_json::Value = serde_json::from_str(claims).unwrap();
    assert_eq!(
        asked["access_token"]["capolids"], wanted["access_token"]["capolids"],
        "the next sign-in satisfies it"
    );
    desk.authority.set(|b| b.trouble = None);
    desk.advance(60);
    assert_eq!(
        desk.header(&target).await,
        "Bearer access-2",
        "the refresh token lived on"
    );
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once() {
    let desk = signed_in().await;
    let target = desk.target();
    let first = desk.identity.authorization(&target).await.unwrap().unwrap();
    for _ in 0..3 {
        desk.identity.refused(&target, &first, None).await;
        assert_eq!(
            desk.header(&target).await,
            "Bearer access-2",
            "a newer one is not dropped"
        );
    }
    assert_eq!(desk.authority.grants("refresh_token").len(), 1);

    let second = desk.identity.authorization(&target).await.unwrap().unwrap();
    desk.identity.refused(&target, &second, None).await;
    assert_eq!(needed(&desk).await, SignInReason::KeepsRefusing);
    assert_eq!(desk.authority.grants("refresh_token").len(), 1, "no loop");
    desk.advance(61);
    assert_eq!(desk.header(&target).await, "Bearer access-3");
}

#[tokio::test]
async fn a_caller_who_leaves_takes_no_token_along() {
    let desk = signed_in().await;
    let target = desk.target();
    desk.advance(3600);
    let permits = desk.authority.hold_back();
    let leaving = {
        let (identity, target) = (desk.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    desk.authority.asked_for("refresh_token").await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    desk.authority.gate.add_permits(permits);
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    assert_eq!(
        desk.authority.grants("refresh_token").len(),
        1,
        "its answer was used"
    );
    let kept = desk
        .restarted()
        .authorization(&target)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(shown(&kept), "Bearer access-2");
}

#[tokio::test]
async fn whoever_ends_can_wait_for_a_renewal_that_nobody_waits_for() {
    let desk = signed_in().await;
    let target = desk.target();
    desk.advance(3600);
    let permits = desk.authority.hold_back();
    let leaving = {
        let (identity, target) = (desk.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    desk.authority.asked_for("refresh_token").await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    let settling = {
        let identity = desk.identity.clone();
        tokio::spawn(async move { identity.settled().await })
    };
    tokio::task::yield_now().await;
    assert!(!settling.is_finished());
    desk.authority.gate.add_permits(permits);
    settling.await.unwrap();
    let kept = desk.restarted().authorization(&target).await.unwrap();
    assert_eq!(shown(&kept.unwrap()), "Bearer access-2");
    assert_eq!(desk.authority.grants("refresh_token").len(), 1);
}

#[tokio::test]
async fn signing_out_during_a_renewal_wins() {
    let desk = signed_in().await;
    let target = desk.target();
    let account = desk.identity.account_for(&target).unwrap();
    desk.advance(3600);
    let permits = desk.authority.hold_back();
    let renewing = {
        let (identity, target) = (desk.identity.clone(), target.clone());
        tokio::spawn(async move { identity.authorization(&target).await })
    };
    desk.authority.asked_for("refresh_token").await;
    let signing_out = {
        let identity = desk.identity.clone();
        tokio::spawn(async move { identity.sign_out(&account.key).await })
    };
    desk.authority.gate.add_permits(permits);
    renewing.await.unwrap().ok();
    signing_out.await.unwrap().unwrap();
    assert_eq!(needed(&desk).await, SignInReason::NotSignedIn);
    assert!(desk.restarted().accounts().await.is_empty());
}

#[tokio::test]
async fn an_empty_refresh_token_is_none() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.rotation = Rotation::Empty);
    desk.sign_in(&desk.target()).await.unwrap();
    desk.advance(3599);
    assert_eq!(desk.header(&desk.target()).await, "Bearer access-1");
    desk.advance(1);
    assert_eq!(needed(&desk).await, SignInReason::Expired);
    assert!(desk.authority.grants("refresh_token").is_empty());
}

#[tokio::test]
async fn a_claims_challenge_is_answered_by_a_renewal_and_else_by_a_sign_in() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.issuer = None);
    let target = desk.entra_usual();
    desk.sign_in(&target).await.unwrap();
    let first = desk.identity.authorization(&target).await.unwrap().unwrap();
    // {"access_token":{"nbf":{"essential":true}}}
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;
    desk.identity
        .refused(&target, &first, Some(challenge))
        .await;
    assert_eq!(desk.header(&target).await, "Bearer access-2");
    let renewal = desk.authority.grants("refresh_token").pop().unwrap();
    assert_eq!(
        renewal["claims"],
        r#"{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#
    );

    // Where no renewal answers it, a person has to.
    let second = desk.identity.authorization(&target).await.unwrap().unwrap();
    let refused = json!({ "error": "invalid_grant", "suberror": "basic_action" });
    desk.authority
        .set(|b| b.trouble = Some(Trouble::Refusal(StatusCode::BAD_REQUEST, refused)));
    desk.advance(60);
    desk.identity
        .refused(&target, &second, Some(challenge))
        .await;
    desk.identity.authorization(&target).await.unwrap_err();
    let flow = desk.begin(&target).await.unwrap();
    let asked = flow.url().query_pairs().find(|(name, _)| name == "claims");
    assert!(asked.unwrap().1.contains("nbf"));
}
