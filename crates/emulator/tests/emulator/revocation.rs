//! Signed out from afar: refresh tokens, browsers, and an API that evaluates access continuously.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emulator::{Command, Reuse, demo};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::harness::{Browser, World, http};

fn revoke() -> Command {
    Command::RevokeSessions {
        user: demo::ADELE.to_owned(),
    }
}

/// The `claims` of a challenge.
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
async fn the_sample_api_answers_with_the_claims_of_the_token() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let response = world.echo(&tokens).await;
    assert_eq!(response.status(), StatusCode::OK);
    let claims: Value = response.json().await.unwrap();
    assert_eq!(claims["oid"], demo::ADELE_OBJECT_ID.to_string());
    assert_eq!(claims["scp"], demo::GATEWAY_SCOPE);

    let none = http().get(format!("{}/api/echo", world.base));
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
        let refused = world.echo(wrong).await;
        let header = refused.headers()["www-authenticate"].to_str().unwrap();
        assert!(header.ends_with("error=\"invalid_token\""), "{header}");
    }
}

#[tokio::test]
async fn a_revocation_ends_tokens_refreshes_and_browsers() {
    let world = World::start().await;
    let person = Browser::new();
    let answer = person.sign_in(&world.authorize(&[]), demo::ADELE).await;
    let code = answer.parameter("code");
    let tokens = world.redeem(&[("code", &code)]).await;
    let half = person.open(&world.authorize(&[])).await.parameter("code");
    world.switch(revoke()).await;

    let claims = challenge(&world.echo(&tokens).await);
    assert_eq!(claims["access_token"]["nbf"]["essential"], true);
    let request = world.refresh(&tokens);
    let body = world.refused(request, 400, "invalid_grant", 50_173).await;
    assert_eq!(body["suberror"], "bad_token");
    let request = world.token(&[("code", &half)]);
    world.refused(request, 400, "invalid_grant", 50_173).await;

    let claims = claims.to_string();
    let page = person.open(&world.authorize(&[("claims", &claims)])).await;
    page.shows("Signed out");
    let page = person.answer(&page, &[("account", demo::ADELE)]).await;
    let code = person.password(&page).await.parameter("code");
    let tokens = world.redeem(&[("code", &code)]).await;
    assert_eq!(world.echo(&tokens).await.status(), StatusCode::OK);
    let tokens = world.refreshed(&tokens).await;
    world.switch(revoke()).await;
    challenge(&world.echo(&tokens).await);
    let request = world.refresh(&tokens);
    world.refused(request, 400, "invalid_grant", 50_173).await;
}

#[tokio::test]
async fn a_revocation_is_of_one_user() {
    let world = World::start().await;
    let answer = Browser::new()
        .sign_in(&world.authorize(&[]), demo::GRADY)
        .await;
    let code = answer.parameter("code");
    let tokens = world.redeem(&[("code", &code)]).await;
    world.switch(revoke()).await;
    assert_eq!(world.echo(&tokens).await.status(), StatusCode::OK);
    world.refreshed(&tokens).await;
}

#[tokio::test]
async fn a_challenge_is_met_by_a_refresh() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let user = demo::ADELE_OBJECT_ID.to_string();
    world.switch(Command::ChallengeTokens { user }).await;
    challenge(&world.echo(&tokens).await);
    let tokens = world.refreshed(&tokens).await;
    assert_eq!(world.echo(&tokens).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn reuse_of_a_refresh_token_is_tolerated_until_it_is_detected() {
    let world = World::start().await;
    let first = world.tokens().await;
    let second = world.refreshed(&first).await;
    world.refreshed(&first).await;

    let reuse = Reuse::Detected;
    world.switch(Command::RefreshReuse { reuse }).await;
    let other = world.tokens().await;
    let third = world.refreshed(&second).await;
    for descendant in [&second, &third, &first] {
        let request = world.refresh(descendant);
        world.refused(request, 400, "invalid_grant", 50_173).await;
    }
    let other = world.refreshed(&other).await;
    world.refreshed(&other).await;

    let state = world.switch(Command::Clear).await;
    assert_eq!(state.refresh_reuse, Reuse::Tolerated);
    world.refreshed(&third).await;
}
