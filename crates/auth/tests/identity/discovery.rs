//! Finding out how one signs in, where servers are old, wrong or hostile.

use auth::{SignInError, Target, Whom};
use axum::http::StatusCode;
use model::config::ServerAuth;
use serde_json::{Value, json};

use super::authority::Behaviour;
use super::fixture::Desk;

#[tokio::test]
async fn a_server_without_metadata_is_its_own_authorization_server() {
    let desk = Desk::new().await;
    desk.authority.set(|b| b.resource = Value::Null);
    desk.sign_in(&desk.target()).await.unwrap();
    let asked = desk.authority.asked("authorize").pop().unwrap();
    assert!(!asked.contains_key("resource"), "nobody named one");
    assert!(!asked.contains_key("scope"));

    let older = Desk::new().await;
    older.authority.set(|b| {
        b.resource = Value::Null;
        b.metadata = Value::Null;
    });
    let account = older.sign_in(&older.target()).await.unwrap();
    assert_eq!(
        account.key.subject, older.authority.origin,
        "nobody says who it is"
    );
    assert_eq!(older.header(&older.target()).await, "Bearer access-1");
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_is_told_apart() {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        b.resource = Value::Null;
        b.metadata = Value::Null;
        b.open = true;
    });
    for auth in [ServerAuth::Discover, ServerAuth::None] {
        let outcome = desk.sign_in(&desk.target_with(auth)).await;
        assert!(matches!(outcome, Err(SignInError::NotProtected { .. })));
    }
    let open = desk.target_with(ServerAuth::None);
    assert!(desk.identity.authorization(&open).await.unwrap().is_none());
}

#[tokio::test]
async fn documents_that_lie_are_refused() {
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
        let desk = Desk::new().await;
        let origin = desk.authority.origin.clone();
        desk.authority.set(|b| change(b, &origin));
        let outcome = desk.sign_in(&desk.target()).await;
        let fits = match outcome {
            // Null is no list at all.
            Err(SignInError::Malformed { .. }) => number == 1 || number >= 3,
            Err(SignInError::Insecure { .. }) => number < 3,
            _ => false,
        };
        assert!(fits, "{number}: {outcome:?}");
        assert!(desk.authority.asked("register").is_empty(), "{number}");
    }
}

#[tokio::test]
async fn the_challenge_says_where_to_look() {
    let desk = Desk::new().await;
    let target = desk.target();
    let origin = &desk.authority.origin;
    let scope = async |challenge: &str| {
        let flow = desk
            .identity
            .start_sign_in(&target, Some(challenge), Whom::Same)
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
    let outcome = desk
        .identity
        .start_sign_in(&target, Some(elsewhere), Whom::Same)
        .await;
    assert!(matches!(outcome.err(), Some(SignInError::Insecure { .. })));
}

/// Has the server describe nothing.
fn describe_nothing(behaviour: &mut Behaviour) {
    behaviour.resource = Value::Null;
    behaviour.metadata = Value::Null;
}

/// A server at another path of the same origin.
fn at(desk: &Desk, path: &str) -> Target {
    Target {
        url: format!("{}{path}", desk.authority.origin).parse().unwrap(),
        ..desk.target()
    }
}

/// Has the origin claim all of itself, with its authorization server.
fn claim_origin(desk: &Desk) {
    let origin = desk.authority.origin.clone();
    desk.authority
        .set(|b| b.resource["resource"] = json!(format!("{origin}/")));
}

#[tokio::test]
async fn api_key_server_names_no_sign_in() {
    let desk = Desk::new().await;
    let absences = [
        StatusCode::NOT_FOUND,
        // A door that keeps out everything, and a page that answers for everything.
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::OK,
        StatusCode::FOUND,
    ];
    for absent in absences {
        desk.authority.set(|b| {
            describe_nothing(b);
            b.endpoints = false;
            b.absent = (absent, "<p>not this</p>");
            b.refusal = (
                StatusCode::UNAUTHORIZED,
                r#"{"detail":"X-Api-Key is\r\n missing"}"#,
            );
        });
        let error = desk.sign_in(&desk.target()).await.unwrap_err();
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
        let target = desk.target();
        let found = desk.identity.find_sign_in(&target, Some("Bearer"));
        let error = found.await.unwrap_err();
        assert!(matches!(error, SignInError::NoSignIn { .. }), "{error}");
    }
    for endpoint in ["register", "authorize", "token"] {
        assert!(desk.authority.asked(endpoint).is_empty(), "{endpoint}");
    }
}

#[tokio::test]
async fn forbidding_server_names_no_sign_in() {
    let desk = Desk::new().await;
    desk.authority.set(|b| {
        describe_nothing(b);
        b.refusal = (StatusCode::FORBIDDEN, "no plan");
    });
    let error = desk.sign_in(&desk.target()).await.unwrap_err();
    let text = error.to_string();
    let said = " answers 403 and names no way to sign in: no plan; hint: ";
    assert!(text.contains(said), "{text}");
    assert!(desk.authority.asked("register").is_empty());
}

#[tokio::test]
async fn path_without_server_starts_no_sign_in() {
    let desk = Desk::new().await;
    claim_origin(&desk);
    let missing = at(&desk, "/nosuch/mcp");
    let error = desk.sign_in(&missing).await.unwrap_err();
    assert!(
        matches!(error, SignInError::WrongPath { status: 404, .. }),
        "{error:?}"
    );
    for kind in ["no-such-server", "no_such_server"] {
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": 1102,
            "message": "no", "data": { "kind": kind } } });
        let body: &'static str = body.to_string().leak();
        desk.authority
            .set(|b| b.absent = (StatusCode::NOT_FOUND, body));
        let text = desk.sign_in(&missing).await.unwrap_err().to_string();
        let expected = format!("no such server at this gateway ({})", desk.authority.origin);
        assert!(text.starts_with(&expected), "{text}");
    }
    assert!(desk.authority.asked("register").is_empty());
    assert!(desk.authority.asked("authorize").is_empty());
}

#[tokio::test]
async fn server_that_takes_post_alone_is_signed_in_to() {
    let desk = Desk::new().await;
    claim_origin(&desk);
    let target = at(&desk, "/post-only/mcp");
    desk.sign_in(&target).await.unwrap();
    assert_eq!(desk.header(&target).await, "Bearer access-1");
}
