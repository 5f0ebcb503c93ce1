//! Which client signs in, and at which authorization server.

use auth::{AccountSelection, SignInError, Target};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use model::Issuer;
use model::config::{SecretRef, ServerAuth};
use serde_json::{Value, json};

use super::authority::Authority;
use super::fixture::Fixture;

const DOCUMENT: &str = "https://postern.example/client.json";

/// Returns a target whose client has a secret that is stored as `crm-client`.
fn confidential(fixture: &Fixture, issuer: Option<&str>) -> Target {
    fixture.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: Some(SecretRef {
            secret: "crm-client".parse().unwrap(),
        }),
        issuer: issuer.map(Issuer::new),
        scopes: Vec::new(),
        redirect_port: 0,
    })
}

async fn desk_with_secret() -> Fixture {
    let fixture = Fixture::new().await;
    let name = "crm-client".parse().unwrap();
    fixture.identity.keep_secret(name, "s3cret").await.unwrap();
    fixture
}

/// Makes the server name these authorization servers.
fn move_to(fixture: &Fixture, issuers: &[&str]) {
    let issuers = json!(issuers);
    fixture
        .authority
        .set(|b| b.resource["authorization_servers"] = issuers);
}

/// Returns true if there were only requests for metadata.
fn is_untouched(authority: &Authority) -> bool {
    ["register", "authorize", "token"]
        .iter()
        .all(|endpoint| authority.asked(endpoint).is_empty())
}

#[tokio::test]
async fn registered_secret_uses_method_of_metadata() {
    let basic = format!("Basic {}", BASE64_STANDARD.encode("mine:s3cret"));
    for (offered, expected) in [
        (Value::Null, "basic"),
        (
            json!(["client_secret_post", "client_secret_basic"]),
            "basic",
        ),
        (json!(["none", "client_secret_post"]), "post"),
    ] {
        let fixture = desk_with_secret().await;
        fixture.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = offered;
            b.metadata["registration_endpoint"] = Value::Null;
        });
        let target = confidential(&fixture, Some(&fixture.authority.origin));
        fixture.sign_in(&target).await.unwrap();
        fixture.advance(3600);
        fixture.header(&target).await;
        let requests = fixture.authority.asked("token");
        assert_eq!(requests.len(), 2);
        for request in requests {
            let shown = (request.get("basic"), request.get("client_secret"));
            match expected {
                "basic" => assert_eq!(shown, (Some(&basic), None)),
                _ => assert_eq!(shown, (None, Some(&"s3cret".to_owned()))),
            }
        }
        let authorize = &fixture.authority.asked("authorize")[0];
        assert_eq!(authorize["client_id"], "mine");
        assert!(!authorize.values().any(|value| value.contains("s3cret")));
    }
}

#[tokio::test]
async fn server_without_secret_method_gets_no_secret() {
    let fixture = desk_with_secret().await;
    fixture
        .authority
        .set(|b| b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]));
    let outcome = fixture.sign_in(&confidential(&fixture, None)).await;
    let Err(SignInError::Malformed { what, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(what.contains("private_key_jwt"), "{what}");
    assert!(is_untouched(&fixture.authority));
}

#[tokio::test]
async fn missing_secret_is_reported_with_command() {
    let fixture = Fixture::new().await;
    let outcome = fixture.sign_in(&confidential(&fixture, None)).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, SignInError::SecretMissing { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("`postern secrets set crm-client`")
    );
    assert!(is_untouched(&fixture.authority));
}

#[tokio::test]
async fn client_is_used_at_its_issuer_only() {
    let fixture = desk_with_secret().await;
    let target = confidential(&fixture, Some("https://as.example"));
    let outcome = fixture.sign_in(&target).await;
    let Err(SignInError::Insecure { what, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(what.contains("https://as.example"), "{what}");
    assert!(is_untouched(&fixture.authority));

    // Without a configured issuer, the first sign-in decides.
    let target = confidential(&fixture, None);
    fixture.sign_in(&target).await.unwrap();
    let other = Authority::start().await;
    move_to(&fixture, &[&other.origin]);
    let outcome = fixture.sign_in(&target).await;
    assert!(
        matches!(outcome, Err(SignInError::Insecure { .. })),
        "{outcome:?}"
    );
    assert!(is_untouched(&other));
    // The issuer may be one of several.
    move_to(&fixture, &[&other.origin, &fixture.authority.origin]);
    fixture.sign_in(&target).await.unwrap();
    assert!(is_untouched(&other));
}

#[tokio::test]
async fn metadata_document_precedes_registration() {
    let fixture = Fixture::with_client_metadata(DOCUMENT).await;
    fixture.sign_in(&fixture.target()).await.unwrap();
    let id = |number: usize| fixture.authority.asked("authorize")[number]["client_id"].clone();
    assert_eq!(id(0), "client-1", "the server takes none");

    fixture
        .authority
        .set(|b| b.metadata["client_id_metadata_document_supported"] = json!(true));
    fixture.sign_in(&fixture.target()).await.unwrap();
    assert_eq!(id(1), DOCUMENT);
    fixture.advance(3600);
    fixture.header(&fixture.target()).await;
    for request in &fixture.authority.asked("token")[1..] {
        assert_eq!(request["client_id"], DOCUMENT);
        assert!(!request.contains_key("client_secret"));
    }
    assert_eq!(fixture.authority.asked("register").len(), 1);

    let registered = fixture.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: Vec::new(),
        redirect_port: 0,
    });
    fixture.sign_in(&registered).await.unwrap();
    assert_eq!(id(2), "mine");
}

#[tokio::test]
async fn registered_port_is_reused() {
    let fixture = Fixture::new().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    let target = fixture.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: Vec::new(),
        redirect_port: port,
    });
    let taken = fixture.begin(&target).await.map(|_| ());
    assert!(
        matches!(taken, Err(SignInError::PortTaken { .. })),
        "{taken:?}"
    );
    drop(free);
    fixture.sign_in(&target).await.unwrap();
    let uri = format!("http://127.0.0.1:{port}/callback");
    assert_eq!(fixture.authority.asked("authorize")[0]["redirect_uri"], uri);
    let findings = fixture.identity.diagnose(&target, None).await;
    let told = format!(
        "`{uri}` is to be registered at {}; ",
        fixture.authority.origin
    );
    assert!(
        findings.iter().any(|one| one.what.starts_with(&told)),
        "{findings:?}"
    );
}

#[tokio::test]
async fn changed_issuer_gets_nothing_of_previous_one() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    let other = Authority::start().await;
    // The id of the first client would be noticed.
    other.set(|b| b.registered_with = json!({ "client_id": "the-others-client" }));
    move_to(&fixture, &[&other.origin]);
    let challenge = r#"Bearer error="insufficient_scope", scope="mcp.write""#;
    let flow = fixture
        .identity
        .start_sign_in(&target, Some(challenge), AccountSelection::Last)
        .await;
    let flow = flow.unwrap();
    let url = flow.url().clone();
    let (account, _) = tokio::join!(flow.finish(), super::fixture::browse(&url));
    assert_eq!(account.unwrap().key.issuer.as_str(), other.origin);

    assert_eq!(other.asked("register").len(), 1);
    let asked: Vec<_> = [other.asked("authorize"), other.asked("token")].concat();
    for request in &asked {
        assert_eq!(request["client_id"], "the-others-client");
    }
    let scope = &asked[0]["scope"];
    assert_eq!(scope, "mcp.write offline_access", "and none of the first");
    // Both registrations are kept.
    move_to(&fixture, &[&fixture.authority.origin]);
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(fixture.authority.asked("register").len(), 1);
    let last = fixture.authority.asked("authorize").pop().unwrap();
    assert_eq!(last["client_id"], "client-1");
}

#[tokio::test]
async fn first_working_authorization_server_is_used() {
    let fixture = Fixture::new().await;
    let [other, closed] = [Authority::start().await, Authority::start().await];
    // One with a wrong issuer, one without registration, one that is unreachable.
    other.set(|b| b.metadata["issuer"] = json!("https://elsewhere.example"));
    closed.set(|b| b.metadata["registration_endpoint"] = Value::Null);
    let own = fixture.authority.origin.clone();
    move_to(
        &fixture,
        &["http://127.0.0.1:9", &other.origin, &closed.origin, &own],
    );
    let account = fixture.sign_in(&fixture.target()).await.unwrap();
    assert_eq!(account.key.issuer.as_str(), own);
    assert!(is_untouched(&other) && is_untouched(&closed));

    move_to(&fixture, &["http://127.0.0.1:9", &other.origin]);
    let outcome = fixture.sign_in(&fixture.target()).await;
    assert!(
        matches!(outcome, Err(SignInError::Unreachable { .. })),
        "what is wrong with the first is told: {outcome:?}"
    );
}
