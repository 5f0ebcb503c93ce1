//! Metadata and keys, and access to the emulator.

use std::collections::BTreeSet;

use emulator::{Options, Tenant, demo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{Browser, Harness, http};

async fn get(url: &str) -> (u16, Value) {
    let response = http().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn metadata_matches_entra() {
    let harness = Harness::start().await;
    let (status, document) = get(&harness.url("/v2.0/.well-known/openid-configuration")).await;
    assert_eq!(status, 200);
    let names: BTreeSet<&str> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let golden = [
        "authorization_endpoint",
        "claims_supported",
        "cloud_graph_host_name",
        "cloud_instance_name",
        "device_authorization_endpoint",
        "end_session_endpoint",
        "frontchannel_logout_supported",
        "http_logout_supported",
        "id_token_signing_alg_values_supported",
        "issuer",
        "jwks_uri",
        "kerberos_endpoint",
        "msgraph_host",
        "mtls_endpoint_aliases",
        "rbac_url",
        "request_uri_parameter_supported",
        "response_modes_supported",
        "response_types_supported",
        "scopes_supported",
        "subject_types_supported",
        "tenant_region_scope",
        "tls_client_certificate_bound_access_tokens",
        "token_endpoint",
        "token_endpoint_auth_methods_supported",
        "userinfo_endpoint",
    ];
    assert_eq!(names, BTreeSet::from(golden));
    assert_eq!(document["issuer"], harness.issuer());
    assert_eq!(
        document["authorization_endpoint"],
        harness.url("/oauth2/v2.0/authorize")
    );
    assert_eq!(
        document["token_endpoint"],
        harness.url("/oauth2/v2.0/token")
    );
    assert_eq!(document["jwks_uri"], harness.url("/discovery/v2.0/keys"));
    assert_eq!(
        document["end_session_endpoint"],
        harness.url("/oauth2/v2.0/logout")
    );
    assert_eq!(
        document["userinfo_endpoint"],
        format!("{}/oidc/userinfo", harness.base)
    );
    assert_eq!(document["subject_types_supported"], json!(["pairwise"]));
    assert_eq!(document["request_uri_parameter_supported"], json!(false));
    assert_eq!(
        document["response_types_supported"],
        json!(["code", "id_token", "code id_token", "id_token token"])
    );
}

#[tokio::test]
async fn multi_tenant_metadata_has_issuer_template() {
    let harness = Harness::start().await;
    let template = format!("{}/{{tenantid}}/v2.0", harness.base);
    for authority in ["common", "organizations"] {
        let base = format!("{}/{authority}", harness.base);
        let (_, document) = get(&format!("{base}/v2.0/.well-known/openid-configuration")).await;
        assert_eq!(document["issuer"], template);
        assert_eq!(
            document["token_endpoint"],
            format!("{base}/oauth2/v2.0/token")
        );
        let (_, keys) = get(&format!("{base}/discovery/v2.0/keys")).await;
        assert_eq!(keys["keys"][0]["issuer"], template);
    }
    let by_domain = format!(
        "{}/contoso.example/v2.0/.well-known/openid-configuration",
        harness.base
    );
    assert_eq!(get(&by_domain).await.1["issuer"], harness.issuer());
}

#[tokio::test]
async fn unknown_tenant_returns_invalid_tenant() {
    let harness = Harness::start().await;
    let base = format!("{}/nowhere.example", harness.base);
    for path in [
        "/v2.0/.well-known/openid-configuration",
        "/discovery/v2.0/keys",
    ] {
        let (status, body) = get(&format!("{base}{path}")).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_tenant")));
        assert_eq!(body["error_codes"], json!([90_002]));
    }
    Browser::new()
        .open(&format!("{base}/oauth2/v2.0/authorize?client_id=x"))
        .await
        .shows_error(90_002);
}

#[tokio::test]
async fn key_set_has_several_keys_with_issuer() {
    let harness = Harness::start().await;
    let (_, set) = get(&harness.url("/discovery/v2.0/keys")).await;
    let keys = set["keys"].as_array().unwrap();
    assert!(keys.len() > 1);
    assert_ne!(keys[0]["kid"], keys[1]["kid"]);
    for key in keys {
        assert_eq!((&key["kty"], &key["use"]), (&json!("RSA"), &json!("sig")));
        assert_eq!(key["issuer"], harness.issuer());
        assert!(key["n"].as_str().unwrap().len() > 300 && key.get("d").is_none());
    }
}

#[tokio::test]
async fn authorization_server_metadata_returns_404() {
    let harness = Harness::start().await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/register",
    ] {
        let response = http()
            .get(format!("{}{path}", harness.base))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn metadata_allows_cors_and_pages_do_not() {
    let harness = Harness::start().await;
    let allowed = |response: reqwest::Response| {
        let any = response
            .headers()
            .get("access-control-allow-origin")
            .cloned();
        any.is_some_and(|any| any == "*")
    };
    let fetch = |url: String| {
        http()
            .get(url)
            .header("origin", "https://app.example")
            .send()
    };
    assert!(allowed(
        fetch(harness.url("/discovery/v2.0/keys")).await.unwrap()
    ));
    assert!(allowed(
        fetch(harness.url("/v2.0/.well-known/openid-configuration"))
            .await
            .unwrap()
    ));
    assert!(!allowed(fetch(harness.authorize(&[])).await.unwrap()));
}

#[tokio::test]
async fn foreign_host_header_is_rejected() {
    let harness = Harness::start().await;
    let fetch = |host: &'static str| http().get(&harness.base).header("host", host).send();
    assert_eq!(fetch("localhost:1").await.unwrap().status(), 200);
    assert_eq!(fetch("rebound.example").await.unwrap().status(), 421);
}

#[tokio::test]
async fn home_page_shows_tenants_without_secrets() {
    let harness = Harness::start().await;
    let page = Browser::new().open(&harness.base).await;
    page.shows(&harness.issuer());
    page.shows(demo::GRADY);
    assert!(!page.body.contains(demo::GATEWAY_SECRET));
    let lookup = Browser::new()
        .open(&format!("{}/error?code=50011", harness.base))
        .await;
    lookup.shows("AADSTS50011");
}

#[tokio::test]
async fn listener_beyond_loopback_is_rejected() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let options = Options::new(Tenant::demo("http://localhost/cb"), model::Clock::system());
    let error = emulator::serve(options, listener, CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("hint: use 127.0.0.1"), "{error}");
}
