//! The client credentials grant and tokens of applications.

use emulator::{AccessTokenVersion, AppRole, Command, Requirement, Tenant, Times, demo};
use serde_json::json;

use super::{gateway, gateway_at, granted, reports};
use crate::harness::{Harness, http};
use crate::tokens::claims;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn application_token_has_roles_and_no_user() {
    let harness = Harness::start().await;
    let tokens = granted(gateway(&harness, &[GRANT, ("scope", &reports())])).await;
    for absent in ["refresh_token", "id_token", "client_info", "scope"] {
        assert!(tokens.get(absent).is_none(), "{absent}");
    }
    let claims = claims(&tokens["access_token"]);
    for (name, value) in [
        ("ver", json!("1.0")),
        (
            "iss",
            json!(format!("{}/{}/", harness.base, demo::TENANT_ID)),
        ),
        ("aud", json!(format!("api://{}", demo::REPORTS_CLIENT_ID))),
        ("appid", json!(demo::GATEWAY_CLIENT_ID)),
        ("appidacr", json!("1")),
        ("idtyp", json!("app")),
        ("roles", json!([demo::REPORTS_ROLE])),
        ("tid", json!(demo::TENANT_ID)),
        ("sub", claims["oid"].clone()),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    for absent in ["scp", "name", "upn", "unique_name", "sid"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn resource_determines_token_version() {
    let mut tenant = Tenant::demo("http://localhost/cb");
    let reports_api = tenant
        .apps
        .iter_mut()
        .find(|app| app.client_id == demo::REPORTS_CLIENT_ID);
    let reports_api = reports_api.unwrap();
    reports_api.access_token_version = AccessTokenVersion::V2;
    reports_api.app_roles = vec![AppRole {
        value: "Another.Role".to_owned(),
        granted_to: vec![demo::BRIDGE_CLIENT_ID],
    }];
    let harness = Harness::with(tenant).await;
    let tokens = granted(gateway(&harness, &[GRANT, ("scope", &reports())])).await;
    let claims = harness
        .verify(
            tokens["access_token"].as_str().unwrap(),
            demo::REPORTS_CLIENT_ID,
        )
        .await
        .unwrap();
    assert_eq!(
        (&claims["ver"], &claims["azpacr"]),
        (&json!("2.0"), &json!("1"))
    );
    assert_eq!(claims["azp"], json!(demo::GATEWAY_CLIENT_ID));
    for absent in ["scp", "roles", "idtyp", "preferred_username", "appid"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
}

#[tokio::test]
async fn users_v1_token_has_v1_claims() {
    let harness = Harness::start().await;
    let api = format!("api://{}", demo::REPORTS_CLIENT_ID);
    let scope = format!("openid {api}/{}", demo::REPORTS_SCOPE);
    let code = harness.code(&[("scope", &scope)]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let claims = claims(&tokens["access_token"]);
    for (name, value) in [
        ("ver", json!("1.0")),
        ("aud", json!(api)),
        ("appid", json!(demo::BRIDGE_CLIENT_ID)),
        ("appidacr", json!("0")),
        ("idtyp", json!("user")),
        ("scp", json!(demo::REPORTS_SCOPE)),
        ("upn", json!(demo::ADELE)),
        ("unique_name", json!(demo::ADELE)),
        ("oid", json!(demo::ADELE_OBJECT_ID)),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let header = jsonwebtoken::decode_header(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(header.x5t, header.kid);
    let by_id = format!("{}/{}", demo::REPORTS_CLIENT_ID, demo::REPORTS_SCOPE);
    let code = harness.code(&[("scope", &by_id)]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let claims = crate::tokens::claims(&tokens["access_token"]);
    assert_eq!(claims["aud"], json!(demo::REPORTS_CLIENT_ID));
}

#[tokio::test]
async fn userinfo_rejects_application_token() {
    let harness = Harness::start().await;
    let graph = "https://graph.microsoft.com/.default";
    let tokens = granted(gateway(&harness, &[GRANT, ("scope", graph)])).await;
    let token = tokens["access_token"].as_str().unwrap();
    let userinfo = http().get(format!("{}/oidc/userinfo", harness.base));
    let refused = userinfo.bearer_auth(token).send().await.unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn client_credentials_require_default_scope_and_tenant() {
    let harness = Harness::start().await;
    let reports = reports();
    let named = format!("api://{}/{}", demo::REPORTS_CLIENT_ID, demo::REPORTS_SCOPE);
    for (scope, error, code) in [
        ("", "invalid_request", 900_144),
        (named.as_str(), "invalid_scope", 1_002_012),
        ("api://nowhere/.default", "invalid_resource", 500_011),
    ] {
        let request = gateway(&harness, &[GRANT, ("scope", scope)]);
        harness.expect_error(request, 400, error, code).await;
    }
    let grant = [GRANT, ("scope", reports.as_str())];
    let bridge = demo::BRIDGE_CLIENT_ID.to_string();
    let public = [("client_id", bridge.as_str()), GRANT, ("scope", &reports)];
    let public = harness.token_request(&demo::TENANT_ID.to_string(), &public);
    harness
        .expect_error(public, 401, "invalid_client", 7_000_218)
        .await;
    let secretless = [&grant[..], &[("client_secret", "")]].concat();
    let secretless = gateway(&harness, &secretless);
    harness
        .expect_error(secretless, 401, "invalid_client", 7_000_218)
        .await;

    let mut everywhere = Tenant::demo("http://localhost/cb");
    everywhere.apps[1].sign_in_audience = emulator::SignInAudience::OrgsAndPersonal;
    let harness = Harness::with(everywhere).await;
    for (authority, code) in [
        ("common", 9_001_023),
        ("consumers", 9_001_023),
        ("organizations", 50_059),
    ] {
        let request = gateway_at(&harness, authority, &grant);
        harness
            .expect_error(request, 400, "invalid_request", code)
            .await;
    }
    let abroad = [GRANT, ("scope", "https://graph.microsoft.com/.default")];
    let at_home = granted(gateway(&harness, &abroad)).await;
    let abroad = granted(gateway_at(&harness, "fabrikam.example", &abroad)).await;
    let oid = |tokens: &serde_json::Value| claims(&tokens["access_token"])["oid"].clone();
    assert_ne!(
        oid(&at_home),
        oid(&abroad),
        "a service principal for each tenant"
    );
}

#[tokio::test]
async fn client_credentials_get_injected_errors_but_no_policies() {
    let harness = Harness::start().await;
    let scope = reports();
    let form = [GRANT, ("scope", scope.as_str())];
    let policy = Command::Require {
        requirement: Requirement::Blocked,
        user: None,
        app: None,
    };
    harness.apply(policy).await;
    let expired = Command::Fail {
        number: 7_000_222,
        endpoint: None,
        user: None,
        app: Some(demo::GATEWAY_CLIENT_ID.to_string()),
        times: Times::ONCE,
    };
    harness.apply(expired).await;
    let request = gateway(&harness, &form);
    harness
        .expect_error(request, 401, "invalid_client", 7_000_222)
        .await;
    granted(gateway(&harness, &form)).await;
}
