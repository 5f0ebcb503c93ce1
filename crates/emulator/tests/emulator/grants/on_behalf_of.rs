//! The on-behalf-of grant: an API requests a token for another API on behalf of its caller.

use emulator::{Command, Requirement, SignInAudience, Tenant, demo};
use serde_json::{Value, json};

use super::{gateway, gateway_at, granted, reports};
use crate::harness::{Browser, Harness, replace};
use crate::tokens::claims;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Returns the parameters of a request on behalf of the bearer of `token`.
fn on_behalf_of<'a>(token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("grant_type", GRANT),
        ("requested_token_use", "on_behalf_of"),
        ("assertion", token),
    ];
    replace(&mut all, more);
    all
}

async fn token_for_the_gateway(harness: &Harness) -> String {
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    tokens["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn api_exchanges_users_token_for_next_api() {
    let harness = Harness::start().await;
    let token = token_for_the_gateway(&harness).await;
    let asked = format!("{} openid offline_access", reports());
    let grant = on_behalf_of(&token, &[("scope", &asked), ("client_info", "1")]);
    let tokens = granted(gateway(&harness, &grant)).await;
    let claims_of = |token: &Value| claims(token);
    let next = claims_of(&tokens["access_token"]);
    for (name, value) in [
        ("oid", json!(demo::ADELE_OBJECT_ID)),
        ("appid", json!(demo::GATEWAY_CLIENT_ID)),
        ("appidacr", json!("1")),
        ("scp", json!(demo::REPORTS_SCOPE)),
    ] {
        assert_eq!(next[name], value, "{name}");
    }
    assert_eq!(next["sid"], claims_of(&json!(token))["sid"]);
    assert!(next.get("roles").is_none(), "roles are of applications");
    assert!(tokens["client_info"].is_string());
    assert_eq!(
        claims_of(&tokens["id_token"])["aud"],
        json!(demo::GATEWAY_CLIENT_ID)
    );
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens["refresh_token"].as_str().unwrap()),
    ];
    let refreshed = granted(gateway(&harness, &refresh)).await;
    assert_eq!(claims_of(&refreshed["access_token"])["aud"], next["aud"]);

    let graph = on_behalf_of(&token, &[("scope", "User.Read")]);
    let tokens = granted(gateway(&harness, &graph)).await;
    assert_eq!(tokens["scope"], "User.Read");
    assert!(tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn assertion_must_be_users_token_for_client() {
    let harness = Harness::start().await;
    let token = token_for_the_gateway(&harness).await;
    let scope = reports();
    let own = format!("{}/.default", demo::GATEWAY_CLIENT_ID);
    let machine = [
        ("grant_type", "client_credentials"),
        ("scope", own.as_str()),
    ];
    let machine = granted(gateway(&harness, &machine)).await;
    let code = harness.code(&[("scope", "User.Read")]).await;
    let graph = harness.redeem(&[("code", &code)]).await;
    let reports_scope = format!("api://{}/{}", demo::REPORTS_CLIENT_ID, demo::REPORTS_SCOPE);
    let code = harness.code(&[("scope", &reports_scope)]).await;
    let another = harness.redeem(&[("code", &code)]).await;
    let (rest, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", "A".repeat(342));
    let access = |tokens: &Value| tokens["access_token"].as_str().unwrap().to_owned();
    for (assertion, code) in [
        (access(&machine), 7_000_114),
        (access(&graph), 50_013),
        (access(&another), 500_131),
        (forged, 50_013),
        ("not a token".to_owned(), 50_013),
    ] {
        let request = gateway(&harness, &on_behalf_of(&assertion, &[("scope", &scope)]));
        harness
            .expect_error(request, 400, "invalid_grant", code)
            .await;
    }
    harness
        .clock
        .advance(std::time::Duration::from_secs(2 * 60 * 60));
    let late = gateway(&harness, &on_behalf_of(&token, &[("scope", &scope)]));
    harness
        .expect_error(late, 400, "invalid_grant", 500_133)
        .await;
}

#[tokio::test]
async fn on_behalf_of_request_with_invalid_parameters_is_rejected() {
    let mut tenant = Tenant::demo("http://localhost/cb");
    tenant.apps[1].sign_in_audience = SignInAudience::MultipleOrgs;
    let harness = Harness::with(tenant).await;
    let token = token_for_the_gateway(&harness).await;
    let scope = reports();
    let both = format!("{scope} User.Read");
    for (more, status, error, code) in [
        (("scope", ""), 400, "invalid_request", 900_144),
        (("scope", "openid"), 400, "invalid_request", 28_003),
        (("scope", both.as_str()), 400, "invalid_request", 28_000),
        (("assertion", ""), 400, "invalid_request", 900_144),
        (("requested_token_use", ""), 400, "invalid_request", 900_144),
        (
            ("requested_token_use", "bearer"),
            400,
            "invalid_request",
            90_023,
        ),
        (("client_secret", ""), 401, "invalid_client", 7_000_218),
    ] {
        let mut grant = on_behalf_of(&token, &[("scope", scope.as_str())]);
        grant.retain(|(name, _)| *name != more.0);
        grant.push(more);
        let request = gateway(&harness, &grant);
        harness.expect_error(request, status, error, code).await;
    }
    let grant = on_behalf_of(&token, &[("scope", "User.Read")]);
    for (authority, error, code) in [
        ("common", "invalid_request", 9_001_023),
        ("organizations", "invalid_request", 50_059),
        ("fabrikam.example", "invalid_grant", 50_020),
    ] {
        let request = gateway_at(&harness, authority, &grant);
        harness.expect_error(request, 400, error, code).await;
    }
}

/// Injected errors and policies have Entra's form for this grant.
#[tokio::test]
async fn policy_of_next_api_returns_claims_challenge() {
    let harness = Harness::start().await;
    let token = token_for_the_gateway(&harness).await;
    let scope = reports();
    harness
        .apply(Command::Require {
            requirement: Requirement::SecondFactor,
            user: None,
            app: Some(demo::REPORTS_CLIENT_ID.to_string()),
        })
        .await;
    let ask = |token: &str| gateway(&harness, &on_behalf_of(token, &[("scope", &scope)]));
    let body = harness
        .expect_error(ask(&token), 400, "interaction_required", 50_076)
        .await;
    assert_eq!(body["suberror"], "basic_action");
    assert!(body["claims"].is_string(), "{body}");
    // A second factor at the sign-in also counts for the tokens derived from it.
    let bridge = demo::BRIDGE_CLIENT_ID.to_string();
    harness
        .apply(Command::Require {
            requirement: Requirement::SecondFactor,
            user: None,
            app: Some(bridge),
        })
        .await;
    let browser = Browser::new();
    let page = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    let response = browser.submit(&page, &[("otc", "123456")]).await;
    let code = response.parameter("code");
    let tokens = harness.redeem(&[("code", &code)]).await;
    granted(ask(tokens["access_token"].as_str().unwrap())).await;

    let user = demo::ADELE.to_owned();
    harness.apply(Command::RevokeSessions { user }).await;
    let token = tokens["access_token"].as_str().unwrap();
    harness
        .expect_error(ask(token), 400, "invalid_grant", 50_173)
        .await;
}
