//! Revocation: refresh tokens, browsers, and an API with continuous access evaluation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::{Command, Reuse, demo};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::harness::{Browser, Harness, http};

fn revoke() -> Command {
    Command::RevokeSessions {
        user: demo::ADELE.to_owned(),
    }
}

/// Returns the `claims` of a challenge.
fn challenge(response: &Response) -> Value {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let header = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(header.contains("error=\"insufficient_claims\""), "{header}");
    assert!(header.starts_with("Bearer realm=\"\", authorization_uri=\"http://127.0.0.1"));
    let (_, claims) = header.split_once("claims=\"").unwrap();
    let claims = STANDARD.decode(claims.trim_end_matches('"')).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test]
async fn echo_returns_token_claims() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let response = harness.echo(&tokens).await;
    assert_eq!(response.status(), StatusCode::OK);
    let claims: Value = response.json().await.unwrap();
    assert_eq!(claims["oid"], demo::ADELE_OBJECT_ID.to_string());
    assert_eq!(claims["scp"], demo::GATEWAY_SCOPE);

    let none = http().get(format!("{}/api/echo", harness.base));
    let none = none.send().await.unwrap();
    assert_eq!(none.status(), StatusCode::UNAUTHORIZED);
    assert!(
        !none.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("error")
    );
    let mut forged = tokens.clone();
    let changed = tokens["access_token"]
        .as_str()
        .unwrap()
        .replacen("ey", "eY", 1);
    forged["access_token"] = changed.into();
    let id_token = serde_json::json!({ "access_token": tokens["id_token"] });
    for wrong in [&forged, &id_token] {
        let refused = harness.echo(wrong).await;
        let header = refused.headers()["www-authenticate"].to_str().unwrap();
        assert!(header.ends_with("error=\"invalid_token\""), "{header}");
    }
}

#[tokio::test]
async fn revocation_ends_tokens_and_browser_sessions() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let response = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    let code = response.parameter("code");
    let tokens = harness.redeem(&[("code", &code)]).await;
    let half = browser
        .open(&harness.authorize(&[]))
        .await
        .parameter("code");
    harness.apply(revoke()).await;

    let claims = challenge(&harness.echo(&tokens).await);
    assert_eq!(claims["access_token"]["nbf"]["essential"], true);
    let request = harness.refresh(&tokens);
    let body = harness
        .expect_error(request, 400, "invalid_grant", 50_173)
        .await;
    assert_eq!(body["suberror"], "bad_token");
    let request = harness.token(&[("code", &half)]);
    harness
        .expect_error(request, 400, "invalid_grant", 50_173)
        .await;

    let claims = claims.to_string();
    let page = browser
        .open(&harness.authorize(&[("claims", &claims)]))
        .await;
    page.shows("Signed out");
    let page = browser.submit(&page, &[("account", demo::ADELE)]).await;
    let code = browser.password(&page).await.parameter("code");
    let tokens = harness.redeem(&[("code", &code)]).await;
    assert_eq!(harness.echo(&tokens).await.status(), StatusCode::OK);
    let tokens = harness.refreshed(&tokens).await;
    harness.apply(revoke()).await;
    challenge(&harness.echo(&tokens).await);
    let request = harness.refresh(&tokens);
    harness
        .expect_error(request, 400, "invalid_grant", 50_173)
        .await;
}

#[tokio::test]
async fn revocation_affects_one_user() {
    let harness = Harness::start().await;
    let response = Browser::new()
        .sign_in(&harness.authorize(&[]), demo::GRADY)
        .await;
    let code = response.parameter("code");
    let tokens = harness.redeem(&[("code", &code)]).await;
    harness.apply(revoke()).await;
    assert_eq!(harness.echo(&tokens).await.status(), StatusCode::OK);
    harness.refreshed(&tokens).await;
}

#[tokio::test]
async fn refresh_meets_claims_challenge() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let user = demo::ADELE_OBJECT_ID.to_string();
    harness.apply(Command::ChallengeTokens { user }).await;
    challenge(&harness.echo(&tokens).await);
    let tokens = harness.refreshed(&tokens).await;
    assert_eq!(harness.echo(&tokens).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn refresh_token_reuse_ends_family_when_detected() {
    let harness = Harness::start().await;
    let first = harness.tokens().await;
    let second = harness.refreshed(&first).await;
    harness.refreshed(&first).await;

    let reuse = Reuse::Detected;
    harness.apply(Command::RefreshReuse { reuse }).await;
    let other = harness.tokens().await;
    let third = harness.refreshed(&second).await;
    for descendant in [&second, &third, &first] {
        let request = harness.refresh(descendant);
        harness
            .expect_error(request, 400, "invalid_grant", 50_173)
            .await;
    }
    let other = harness.refreshed(&other).await;
    harness.refreshed(&other).await;

    let state = harness.apply(Command::Clear).await;
    assert_eq!(state.refresh_reuse, Reuse::Tolerated);
    harness.refreshed(&third).await;
}
