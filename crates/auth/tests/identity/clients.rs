//! By what client this program signs in, and at which authorization server.

use auth::{SignInError, Target, Whom};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use model::Issuer;
use model::config::{KeptSecret, ServerAuth};
use serde_json::{Value, json};

use super::authority::Authority;
use super::fixture::Desk;

const DOCUMENT: &str = "https://postern.example/client.json";

/// A server whose sign-in takes a client with a secret that is stored as `crm-client`.
fn confidential(desk: &Desk, issuer: Option<&str>) -> Target {
    desk.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: Some(KeptSecret {
            keychain: "crm-client".parse().unwrap(),
        }),
        issuer: issuer.map(Issuer::new),
        scopes: Vec::new(),
        redirect_port: 0,
    })
}

async fn desk_with_secret() -> Desk {
    let desk = Desk::new().await;
    let name = "crm-client".parse().unwrap();
    desk.identity.keep_secret(name, "s3cret").await.unwrap();
    desk
}

/// Has the server name these authorization servers from now on.
fn move_to(desk: &Desk, issuers: &[&str]) {
    let issuers = json!(issuers);
    desk.authority
        .set(|b| b.resource["authorization_servers"] = issuers);
}

/// Whether nobody was asked anything there but for documents.
fn is_untouched(authority: &Authority) -> bool {
    ["register", "authorize", "token"]
        .iter()
        .all(|endpoint| authority.asked(endpoint).is_empty())
}

#[tokio::test]
async fn a_registered_secret_is_proved_as_the_metadata_says() {
    let basic = format!("Basic {}", BASE64_STANDARD.encode("mine:s3cret"));
    for (offered, expected) in [
        (Value::Null, "basic"),
        (
            json!(["client_secret_post", "client_secret_basic"]),
            "basic",
        ),
        (json!(["none", "client_secret_post"]), "post"),
    ] {
        let desk = desk_with_secret().await;
        desk.authority.set(|b| {
            b.metadata["token_endpoint_auth_methods_supported"] = offered;
            b.metadata["registration_endpoint"] = Value::Null;
        });
        let target = confidential(&desk, Some(&desk.authority.origin));
        desk.sign_in(&target).await.unwrap();
        desk.advance(3600);
        desk.header(&target).await;
        let requests = desk.authority.asked("token");
        assert_eq!(requests.len(), 2);
        for request in requests {
            let shown = (request.get("basic"), request.get("client_secret"));
            match expected {
                "basic" => assert_eq!(shown, (Some(&basic), None)),
                _ => assert_eq!(shown, (None, Some(&"s3cret".to_owned()))),
            }
        }
        let authorize = &desk.authority.asked("authorize")[0];
        assert_eq!(authorize["client_id"], "mine");
        assert!(!authorize.values().any(|value| value.contains("s3cret")));
    }
}

#[tokio::test]
async fn a_server_that_takes_no_secret_gets_none() {
    let desk = desk_with_secret().await;
    desk.authority
        .set(|b| b.metadata["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]));
    let outcome = desk.sign_in(&confidential(&desk, None)).await;
    let Err(SignInError::Malformed { what, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(what.contains("private_key_jwt"), "{what}");
    assert!(is_untouched(&desk.authority));
}

#[tokio::test]
async fn a_secret_that_is_not_stored_is_named_with_its_command() {
    let desk = Desk::new().await;
    let outcome = desk.sign_in(&confidential(&desk, None)).await;
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
    assert!(is_untouched(&desk.authority));
}

#[tokio::test]
async fn a_client_is_never_shown_to_another_authorization_server() {
    let desk = desk_with_secret().await;
    let target = confidential(&desk, Some("https://as.example"));
    let outcome = desk.sign_in(&target).await;
    let Err(SignInError::Insecure { what, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(what.contains("https://as.example"), "{what}");
    assert!(is_untouched(&desk.authority));

    // Where nothing is configured, the first sign-in says whose it is.
    let target = confidential(&desk, None);
    desk.sign_in(&target).await.unwrap();
    let other = Authority::start().await;
    move_to(&desk, &[&other.origin]);
    let outcome = desk.sign_in(&target).await;
    assert!(
        matches!(outcome, Err(SignInError::Insecure { .. })),
        "{outcome:?}"
    );
    assert!(is_untouched(&other));
    // It may be one of several.
    move_to(&desk, &[&other.origin, &desk.authority.origin]);
    desk.sign_in(&target).await.unwrap();
    assert!(is_untouched(&other));
}

#[tokio::test]
async fn a_metadata_document_comes_before_registration_and_after_a_registered_client() {
    let desk = Desk::described_at(DOCUMENT).await;
    desk.sign_in(&desk.target()).await.unwrap();
    let id = |number: usize| desk.authority.asked("authorize")[number]["client_id"].clone();
    assert_eq!(id(0), "client-1", "the server takes none");

    desk.authority
        .set(|b| b.metadata["client_id_metadata_document_supported"] = json!(true));
    desk.sign_in(&desk.target()).await.unwrap();
    assert_eq!(id(1), DOCUMENT);
    desk.advance(3600);
    desk.header(&desk.target()).await;
    for request in &desk.authority.asked("token")[1..] {
        assert_eq!(request["client_id"], DOCUMENT);
        assert!(!request.contains_key("client_secret"));
    }
    assert_eq!(desk.authority.asked("register").len(), 1);

    let registered = desk.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: Vec::new(),
        redirect_port: 0,
    });
    desk.sign_in(&registered).await.unwrap();
    assert_eq!(id(2), "mine");
}

#[tokio::test]
async fn a_port_that_is_registered_is_the_one_that_the_browser_comes_back_to() {
    let desk = Desk::new().await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    let target = desk.target_with(ServerAuth::Client {
        client_id: "mine".to_owned(),
        client_secret: None,
        issuer: None,
        scopes: Vec::new(),
        redirect_port: port,
    });
    let taken = desk.begin(&target).await.map(|_| ());
    assert!(
        matches!(taken, Err(SignInError::PortTaken { .. })),
        "{taken:?}"
    );
    drop(free);
    desk.sign_in(&target).await.unwrap();
    let uri = format!("http://127.0.0.1:{port}/callback");
    assert_eq!(desk.authority.asked("authorize")[0]["redirect_uri"], uri);
    let findings = desk.identity.examine(&target, None).await;
    let told = format!("`{uri}` is to be registered at {}; ", desk.authority.origin);
    assert!(
        findings.iter().any(|one| one.what.starts_with(&told)),
        "{findings:?}"
    );
}

#[tokio::test]
async fn another_authorization_server_hears_nothing_of_the_one_before() {
    let desk = Desk::new().await;
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    let other = Authority::start().await;
    // So that an id of the first would be seen.
    other.set(|b| b.registered_with = json!({ "client_id": "the-others-client" }));
    move_to(&desk, &[&other.origin]);
    let challenge = r#"Bearer error="insufficient_scope", scope="mcp.write""#;
    let flow = desk
        .identity
        .start_sign_in(&target, Some(challenge), Whom::Same)
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
    // Both registrations stay, each where it belongs.
    move_to(&desk, &[&desk.authority.origin]);
    desk.sign_in(&target).await.unwrap();
    assert_eq!(desk.authority.asked("register").len(), 1);
    let last = desk.authority.asked("authorize").pop().unwrap();
    assert_eq!(last["client_id"], "client-1");
}

#[tokio::test]
async fn of_several_authorization_servers_the_first_that_works_is_taken() {
    let desk = Desk::new().await;
    let [other, closed] = [Authority::start().await, Authority::start().await];
    // One that lies about itself, one that nobody can register at, one that is away.
    other.set(|b| b.metadata["issuer"] = json!("https://elsewhere.example"));
    closed.set(|b| b.metadata["registration_endpoint"] = Value::Null);
    let own = desk.authority.origin.clone();
    move_to(
        &desk,
        &["http://127.0.0.1:9", &other.origin, &closed.origin, &own],
    );
    let account = desk.sign_in(&desk.target()).await.unwrap();
    assert_eq!(account.key.issuer.as_str(), own);
    assert!(is_untouched(&other) && is_untouched(&closed));

    move_to(&desk, &["http://127.0.0.1:9", &other.origin]);
    let outcome = desk.sign_in(&desk.target()).await;
    assert!(
        matches!(outcome, Err(SignInError::Unreachable { .. })),
        "what is wrong with the first is told: {outcome:?}"
    );
}
