//! Tokens of a managed identity, and clients that use them instead of a secret.

use emulator::{FederatedCredential, ManagedIdentity, Tenant, demo};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{gateway, granted, reports};
use crate::harness::{Harness, http};
use crate::tokens::claims;

const EXCHANGE: &str = FederatedCredential::AUDIENCE;

fn metadata(harness: &Harness, query: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let url = format!("{}/metadata/identity/oauth2/token", harness.base);
    http().get(url).query(query).header("metadata", "true")
}

async fn token_of_identity(harness: &Harness, resource: &str) -> String {
    let query = [("api-version", "2018-02-01"), ("resource", resource)];
    let response = granted(metadata(harness, &query)).await;
    response["access_token"].as_str().unwrap().to_owned()
}

fn with(harness: &Harness, assertion: &str) -> reqwest::RequestBuilder {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let grant = [
        ("grant_type", "client_credentials"),
        ("scope", &reports()),
        ("client_secret", ""),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
    ];
    gateway(harness, &grant)
}

fn trusting(credential: FederatedCredential) -> Tenant {
    let mut tenant = Tenant::demo("http://localhost/cb");
    tenant.apps[1].federated_credentials = vec![credential];
    tenant
}

fn credential() -> FederatedCredential {
    FederatedCredential {
        issuer: demo::TENANT_ID,
        subject: demo::HOST_OBJECT_ID.to_string(),
        audience: EXCHANGE.to_owned(),
    }
}

#[tokio::test]
async fn imds_returns_token_response_like_azure() {
    let harness = Harness::start().await;
    let client = demo::HOST_CLIENT_ID.to_string();
    let query = [
        ("api-version", "2018-02-01"),
        ("resource", EXCHANGE),
        ("client_id", &client),
    ];
    let response = granted(metadata(&harness, &query)).await;
    assert_eq!(response["resource"], EXCHANGE);
    assert_eq!(response["client_id"], client);
    assert_eq!(response["token_type"], "Bearer");
    let number = |name: &str| response[name].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(
        number("expires_on"),
        harness.clock.clock().unix() + number("expires_in")
    );
    let claims = claims(&response["access_token"]);
    assert_eq!(claims["iss"], harness.issuer());
    assert_eq!(claims["sub"], json!(demo::HOST_OBJECT_ID));
    assert_eq!(claims["aud"], "fb60f99c-7a34-4190-8149-302f77469936");
    assert!(claims.get("scp").is_none());
}

#[tokio::test]
async fn imds_returns_its_own_errors() {
    let mut tenant = Tenant::demo("http://localhost/cb");
    tenant.managed_identities.push(ManagedIdentity {
        object_id: Uuid::new_v4(),
        client_id: Uuid::new_v4(),
        name: "A second one".to_owned(),
    });
    let harness = Harness::with(tenant).await;
    let version = ("api-version", "2018-02-01");
    let (all, client) = (("resource", EXCHANGE), demo::HOST_CLIENT_ID.to_string());
    let own = ("client_id", client.as_str());
    for (query, text) in [
        (&[all, own] as &[_], "'api-version'"),
        (&[version, own], "'resource'"),
        (&[version, all], "Identity not found"),
        (&[version, all, ("client_id", "x")], "Identity not found"),
        (
            &[version, own, ("resource", "api://nowhere")],
            "api://nowhere",
        ),
    ] {
        let refused = metadata(&harness, query).send().await.unwrap();
        assert_eq!(refused.status(), 400);
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["error"], "invalid_request");
        let said = body["error_description"].as_str().unwrap();
        assert!(said.contains(text), "{said}");
    }
    let url = format!("{}/metadata/identity/oauth2/token", harness.base);
    let slash = http().get(format!("{url}/")).query(&[version, all, own]);
    granted(slash.header("metadata", "true")).await;
    let without = http().get(url).query(&[version, all, own]);
    assert_eq!(without.send().await.unwrap().status(), 400);
    granted(metadata(&harness, &[version, all, own])).await;
}

#[tokio::test]
async fn managed_identity_token_replaces_secret() {
    let harness = Harness::start().await;
    let assertion = token_of_identity(&harness, EXCHANGE).await;
    let tokens = granted(with(&harness, &assertion)).await;
    let claims = claims(&tokens["access_token"]);
    assert_eq!(claims["appid"], json!(demo::GATEWAY_CLIENT_ID));
    assert_eq!(claims["appidacr"], "2");
    assert_eq!(claims["roles"], json!([demo::REPORTS_ROLE]));
}

#[tokio::test]
async fn federated_credential_must_match_registration() {
    let other_case = demo::HOST_OBJECT_ID.to_string().to_uppercase();
    for (credential, code) in [
        (
            FederatedCredential {
                issuer: demo::FABRIKAM_TENANT_ID,
                ..credential()
            },
            700_211,
        ),
        (
            FederatedCredential {
                subject: other_case,
                ..credential()
            },
            700_213,
        ),
        (
            FederatedCredential {
                audience: "api://another".to_owned(),
                ..credential()
            },
            700_212,
        ),
    ] {
        let harness = Harness::with(trusting(credential)).await;
        let assertion = token_of_identity(&harness, EXCHANGE).await;
        let refused = with(&harness, &assertion);
        harness
            .expect_error(refused, 401, "invalid_client", code)
            .await;
    }
    let mut untrusting = Tenant::demo("http://localhost/cb");
    untrusting.apps[1].federated_credentials.clear();
    let harness = Harness::with(untrusting).await;
    let assertion = token_of_identity(&harness, EXCHANGE).await;
    let refused = with(&harness, &assertion);
    harness
        .expect_error(refused, 401, "invalid_client", 70_025)
        .await;
}

#[tokio::test]
async fn token_for_other_resource_is_rejected_as_assertion() {
    let harness = Harness::start().await;
    let gateway = format!("api://{}", demo::GATEWAY_CLIENT_ID);
    let other = token_of_identity(&harness, &gateway).await;
    harness
        .expect_error(with(&harness, &other), 401, "invalid_client", 700_212)
        .await;
    let assertion = token_of_identity(&harness, EXCHANGE).await;
    let (rest, _) = assertion.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", "A".repeat(342));
    harness
        .expect_error(with(&harness, &forged), 401, "invalid_client", 700_027)
        .await;
    harness
        .clock
        .advance(std::time::Duration::from_secs(2 * 60 * 60));
    harness
        .expect_error(with(&harness, &assertion), 401, "invalid_client", 700_024)
        .await;
}
