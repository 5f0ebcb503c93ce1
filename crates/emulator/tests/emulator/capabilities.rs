//! The `claims` parameter: clients that handle claims challenges get long-lived tokens.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::tokens::claims;

const CP1: &str = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
/// The `claims` parameter after a challenge.
const CHALLENGED: &str = r#"{"access_token":{"xms_cc":{"values":["cp1"]},"nbf":{"essential":true,"value":"1800000000"}}}"#;

fn check_long_lived(tokens: &Value) {
    let life = tokens["expires_in"].as_u64().unwrap();
    assert!((72_000..100_800).contains(&life), "{life}");
    assert_eq!(tokens["refresh_in"], life / 2);
    assert_eq!(claims(&tokens["access_token"])["xms_cc"], json!(["cp1"]));
}

#[tokio::test]
async fn capability_at_either_endpoint_makes_tokens_long_lived() {
    let harness = Harness::start().await;
    for (authorize, redeem) in [(CP1, ""), ("", CP1), (CP1, CHALLENGED)] {
        let code = harness.code(&[("claims", authorize)]).await;
        let tokens = harness.redeem(&[("code", &code), ("claims", redeem)]).await;
        check_long_lived(&tokens);
    }
}

#[tokio::test]
async fn refresh_repeats_capability() {
    let harness = Harness::start().await;
    let code = harness.code(&[("claims", CP1)]).await;
    let first = harness.redeem(&[("code", &code)]).await;
    let refresh = async |wanted: &str| {
        let token = first["refresh_token"].as_str().unwrap();
        let grant = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("redirect_uri", ""),
            ("code_verifier", ""),
            ("claims", wanted),
        ];
        harness.redeem(&grant).await
    };
    let challenged = refresh(CHALLENGED).await;
    check_long_lived(&challenged);
    assert_ne!(challenged["access_token"], first["access_token"]);
    let without = refresh("").await;
    assert!(without.get("refresh_in").is_none());
    assert!(claims(&without["access_token"]).get("xms_cc").is_none());
}

#[tokio::test]
async fn unknown_capability_is_copied_to_token() {
    let harness = Harness::start().await;
    let other = r#"{"access_token":{"xms_cc":{"values":["other"]}}}"#;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code), ("claims", other)]).await;
    assert!(tokens.get("refresh_in").is_none());
    assert_eq!(claims(&tokens["access_token"])["xms_cc"], json!(["other"]));
}

#[tokio::test]
async fn malformed_claims_parameter_is_rejected() {
    let harness = Harness::start().await;
    let response = crate::harness::Browser::new()
        .open(&harness.authorize(&[("claims", "cp1")]))
        .await;
    assert_eq!(response.parameter("error"), "invalid_request");
    let code = harness.code(&[]).await;
    let wrong = harness.token(&[("code", &code), ("claims", "{")]);
    harness
        .expect_error(wrong, 400, "invalid_request", 9_002_313)
        .await;
}
