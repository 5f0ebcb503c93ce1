//! Discovery with old, wrong and hostile servers.

use auth::{AccountSelection, SignInError, Target};
use axum::http::StatusCode;
use model::config::ServerAuth;
use serde_json::{Value, json};

use super::authority::Behaviour;
use super::fixture::Fixture;

#[tokio::test]
async fn server_without_metadata_is_own_authorization_server() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| b.resource = Value::Null);
    fixture.sign_in(&fixture.target()).await.unwrap();
    let asked = fixture.authority.asked("authorize").pop().unwrap();
    assert!(
        !asked.contains_key("resource"),
        "there is no resource metadata"
    );
    assert!(!asked.contains_key("scope"));

    let older = Fixture::new().await;
    older.authority.set(|b| {
        b.resource = Value::Null;
        b.metadata = Value::Null;
    });
    let account = older.sign_in(&older.target()).await.unwrap();
    assert_eq!(
        account.key.subject, older.authority.origin,
        "the user is unknown"
    );
    assert_eq!(older.header(&older.target()).await, "Bearer access-1");
}

#[tokio::test]
async fn open_server_needs_no_sign_in() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        b.resource = Value::Null;
        b.metadata = Value::Null;
        b.open = true;
    });
    for auth in [ServerAuth::Discover, ServerAuth::None] {
        let outcome = fixture.sign_in(&fixture.target_with(auth)).await;
        assert!(matches!(outcome, Err(SignInError::NotProtected { .. })));
    }
    let open = fixture.target_with(ServerAuth::None);
    assert!(
        fixture
            .identity
            .authorization(&open)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn contradictory_metadata_is_rejected() {
    type Change = fn(&mut super::authority::Behaviour, &str);
    let insecure: [Change; 3] = [
        |b, _| b.metadata["code_challenge_methods_supported"] = json!(["plain"]),
        |b, _| b.metadata["code_challenge_methods_supported"] = Value::Null,
        |b, _| b.metadata["token_endpoint"] = json!("http://far.example/token"),
    ];
    let malformed: [Change; 4] = [
        |b, origin| b.metadata["issuer"] = json!(format!("{origin}/")),
        |b, _| b.metadata["issuer"] = json!("https://other.example"),
        |b, _| b.resource["resource"] = json!("https://other.example/mcp"),
        |b, origin| b.resource["resource"] = json!(format!("{origin}/other")),
    ];
    for (number, change) in insecure.into_iter().chain(malformed).enumerate() {
        let fixture = Fixture::new().await;
        let origin = fixture.authority.origin.clone();
        fixture.authority.set(|b| change(b, &origin));
        let outcome = fixture.sign_in(&fixture.target()).await;
        let fits = match outcome {
            // Null is not a list.
            Err(SignInError::Malformed { .. }) => number == 1 || number >= 3,
            Err(SignInError::Insecure { .. }) => number < 3,
            _ => false,
        };
        assert!(fits, "{number}: {outcome:?}");
        assert!(fixture.authority.asked("register").is_empty(), "{number}");
    }
}

#[tokio::test]
async fn challenge_names_metadata() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let origin = &fixture.authority.origin;
    let scope = async |challenge: &str| {
        let flow = fixture
            .identity
            .start_sign_in(&target, Some(challenge), AccountSelection::Last)
            .await
            .unwrap();
        let scope = flow.url().query_pairs().find(|(name, _)| name == "scope");
        scope.map(|(_, scope)| scope.into_owned())
    };
    let named = format!(
        r#"Bearer resource_metadata="{origin}/.well-known/oauth-protected-resource/mcp", scope="mcp.special""#
    );
    assert_eq!(
        scope(&named).await.as_deref(),
        Some("mcp.special offline_access")
    );
    assert_eq!(
        scope("Bearer").await.as_deref(),
        Some("mcp.read offline_access")
    );

    let elsewhere = r#"Bearer resource_metadata="http://far.example/metadata""#;
    let outcome = fixture
        .identity
        .start_sign_in(&target, Some(elsewhere), AccountSelection::Last)
        .await;
    assert!(matches!(outcome.err(), Some(SignInError::Insecure { .. })));
}

/// Removes all metadata.
fn describe_nothing(behaviour: &mut Behaviour) {
    behaviour.resource = Value::Null;
    behaviour.metadata = Value::Null;
}

/// Returns a target at another path of the same origin.
fn at(fixture: &Fixture, path: &str) -> Target {
    Target::new(
        format!("{}{path}", fixture.authority.origin)
            .parse()
            .unwrap(),
        fixture.target().auth().clone(),
    )
}

/// Makes the origin claim all of itself, with its authorization server.
fn claim_origin(fixture: &Fixture) {
    let origin = fixture.authority.origin.clone();
    fixture
        .authority
        .set(|b| b.resource["resource"] = json!(format!("{origin}/")));
}

#[tokio::test]
async fn api_key_server_names_no_sign_in() {
    let fixture = Fixture::new().await;
    let absences = [
        StatusCode::NOT_FOUND,
        // A server that rejects everything, and one that answers everything.
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::OK,
        StatusCode::FOUND,
    ];
    for absent in absences {
        fixture.authority.set(|b| {
            describe_nothing(b);
            b.endpoints = false;
            b.absent = (absent, "<p>not this</p>");
            b.refusal = (
                StatusCode::UNAUTHORIZED,
                r#"{"detail":"X-Api-Key is\r\n missing"}"#,
            );
        });
        let error = fixture.sign_in(&fixture.target()).await.unwrap_err();
        let SignInError::NoSignIn {
            status: Some(401), ..
        } = error
        else {
            panic!("{absent}: {error:?}")
        };
        let text = error.to_string();
        let said = " answers 401 and names no way to sign in: X-Api-Key is missing; hint: ";
        assert!(text.contains(said), "{text}");
        assert!(text.contains("`headers`"), "{text}");
        let target = fixture.target();
        let found = fixture.identity.find_sign_in(&target, Some("Bearer"));
        let error = found.await.unwrap_err();
        assert!(matches!(error, SignInError::NoSignIn { .. }), "{error}");
    }
    for endpoint in ["register", "authorize", "token"] {
        assert!(fixture.authority.asked(endpoint).is_empty(), "{endpoint}");
    }
}

#[tokio::test]
async fn forbidding_server_names_no_sign_in() {
    let fixture = Fixture::new().await;
    fixture.authority.set(|b| {
        describe_nothing(b);
        b.refusal = (StatusCode::FORBIDDEN, "no plan");
    });
    let error = fixture.sign_in(&fixture.target()).await.unwrap_err();
    let text = error.to_string();
    let said = " answers 403 and names no way to sign in: no plan; hint: ";
    assert!(text.contains(said), "{text}");
    assert!(fixture.authority.asked("register").is_empty());
}

#[tokio::test]
async fn path_without_server_starts_no_sign_in() {
    let fixture = Fixture::new().await;
    claim_origin(&fixture);
    let missing = at(&fixture, "/nosuch/mcp");
    let error = fixture.sign_in(&missing).await.unwrap_err();
    assert!(
        matches!(error, SignInError::WrongPath { status: 404, .. }),
        "{error:?}"
    );
    for kind in ["no-such-server", "no_such_server"] {
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 1102,
            "message": "no", "data": { "kind": kind } } });
        let body: &'static str = body.to_string().leak();
        fixture
            .authority
            .set(|b| b.absent = (StatusCode::NOT_FOUND, body));
        let text = fixture.sign_in(&missing).await.unwrap_err().to_string();
        let expected = format!(
            "no such server at this gateway ({})",
            fixture.authority.origin
        );
        assert!(text.starts_with(&expected), "{text}");
    }
    assert!(fixture.authority.asked("register").is_empty());
    assert!(fixture.authority.asked("authorize").is_empty());
}

#[tokio::test]
async fn server_with_post_only_is_discovered() {
    let fixture = Fixture::new().await;
    claim_origin(&fixture);
    let target = at(&fixture, "/post-only/mcp");
    fixture.sign_in(&target).await.unwrap();
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
}
