//! Sign-in by device code (RFC 8628).

use std::time::Duration;

use auth::{AuthorizationError, Identity, SignInError, SignInReason, Target};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::START;
use super::authority::{Parameters, Rotation, TENANT, Trouble};
use super::fixture::Fixture;

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.authority.offer_device_codes();
    fixture
}

async fn sign_in(fixture: &Fixture, target: &Target) -> Result<auth::Account, SignInError> {
    let flow = fixture.identity.start_device_sign_in(target, None).await?;
    flow.finish().await
}

#[tokio::test]
async fn device_code_signs_in() {
    let fixture = fixture().await;
    let complete = format!("{}/device?user_code=WDJB-MJHT", fixture.authority.origin);
    fixture.authority.set(|b| {
        b.device.answer = json!({ "verification_uri_complete": complete });
        b.device.errors = vec!["authorization_pending"];
    });
    let target = fixture.target();
    let flow = fixture.identity.start_device_sign_in(&target, None).await;
    let flow = flow.unwrap();
    assert_eq!(flow.user_code(), "WDJB-MJHT");
    let page = format!("{}/device", fixture.authority.origin);
    assert_eq!(flow.verification_uri().url().as_str(), page);
    assert_eq!(flow.complete_uri().unwrap().url().as_str(), complete);
    assert_eq!(flow.expires_at(), START + 900);
    let account = flow.finish().await.unwrap();
    assert_eq!(account.username.as_deref(), Some("alice@contoso.example"));
    assert_eq!(fixture.header(&target).await, "Bearer access-1");

    let asked = &fixture.authority.asked("device")[0];
    assert_eq!(asked["client_id"], "client-1");
    assert_eq!(asked["scope"], "mcp.read offline_access");
    let polled = fixture
        .authority
        .grants("urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polled.len(), 2);
    for request in polled.iter().chain([asked]) {
        assert_eq!(
            request["resource"],
            format!("{}/mcp", fixture.authority.origin)
        );
    }
    fixture.advance(3600);
    assert_eq!(
        fixture.header(&target).await,
        "Bearer access-2",
        "it renews"
    );
}

#[tokio::test]
async fn registration_serves_browser_and_device_code() {
    let fixture = fixture().await;
    let target = fixture.target();
    sign_in(&fixture, &target).await.unwrap();
    fixture.sign_in(&target).await.unwrap();
    sign_in(&fixture, &target).await.unwrap();
    let registered = fixture.authority.asked("register");
    assert_eq!(registered.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&registered[0]["body"]).unwrap();
    assert_eq!(
        body["grant_types"],
        json!([
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code"
        ])
    );
    let uri = body["redirect_uris"][0].as_str().unwrap();
    assert!(uri.starts_with("http://127.0.0.1:"), "{uri}");
}

#[tokio::test]
async fn registration_without_device_code_is_repeated() {
    let fixture = fixture().await;
    fixture
        .authority
        .set(|b| b.device.barred = vec!["client-1"]);
    let target = fixture.target();
    fixture.sign_in(&target).await.unwrap();
    sign_in(&fixture, &target).await.unwrap();
    let asked = fixture.authority.asked("device");
    let clients: Vec<_> = asked.iter().map(|asked| &*asked["client_id"]).collect();
    assert_eq!(clients, ["client-1", "client-2"]);
}

#[tokio::test]
async fn server_without_device_registration_needs_browser() {
    let fixture = fixture().await;
    fixture.authority.set(|b| b.device.registrable = false);
    let target = fixture.target();
    let refused = sign_in(&fixture, &target).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::NoDeviceCode { .. }),
        "{refused}"
    );
    fixture.sign_in(&target).await.unwrap();
    let asked = fixture.authority.asked("register");
    let is_for_codes = |asked: &Parameters| asked["body"].contains("device_code");
    let for_codes: Vec<_> = asked.iter().map(is_for_codes).collect();
    assert_eq!(for_codes, [true, true, false]);

    fixture
        .authority
        .set(|b| b.device.barred = vec!["client-3"]);
    let refused = sign_in(&fixture, &target).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::NoDeviceCode { .. }),
        "{refused}"
    );
    fixture.sign_in(&target).await.unwrap();
    let clients = fixture.authority.asked("authorize");
    let mut clients = clients.iter().map(|asked| &*asked["client_id"]);
    assert!(clients.all(|client| client == "client-3"), "it is kept");
}

#[tokio::test]
async fn entra_device_code_uses_scopes_and_declined_error() {
    let fixture = fixture().await;
    fixture.authority.set(|b| b.rotation = Rotation::Lenient);
    let target = fixture.entra_usual();
    let account = sign_in(&fixture, &target).await.unwrap();
    assert_eq!(account.tenant.as_deref(), Some(TENANT));
    let asked = &fixture.authority.asked("device")[0];
    assert_eq!(
        asked["scope"],
        "api://the-api/mcp.read openid profile offline_access"
    );
    assert_eq!(asked["client_id"], "the-app");
    for request in fixture.authority.asked("token").iter().chain([asked]) {
        assert!(!request.contains_key("resource"));
    }

    fixture
        .authority
        .set(|b| b.device.errors = vec!["authorization_declined"]);
    let declined = sign_in(&fixture, &target).await.unwrap_err();
    assert!(is_declined(&declined), "{declined}");
    assert_eq!(
        fixture.header(&target).await,
        "Bearer access-1",
        "still there"
    );
}

const OR_BROWSER: &str = ", or sign in with a browser in place of the device code";

fn is_declined(error: &SignInError) -> bool {
    match error {
        SignInError::DeviceCode(ended) => is_declined(ended),
        error => matches!(error, SignInError::Declined { .. }),
    }
}

#[tokio::test]
async fn device_code_errors_are_distinguished() {
    for (error, expected) in [
        ("access_denied", "declined"),
        ("expired_token", "was not finished within"),
        ("bad_verification_code", "bad_verification_code"),
        ("invalid_grant", "invalid_grant"),
    ] {
        let fixture = fixture().await;
        fixture.authority.set(|b| b.device.errors = vec![error]);
        let ended = sign_in(&fixture, &fixture.target()).await.unwrap_err();
        assert!(ended.to_string().contains(expected), "{ended}");
        let text = ended.to_string();
        let (_, hint) = text.split_once("; hint: ").unwrap();
        assert!(hint.ends_with(OR_BROWSER), "{hint}");
        assert!(fixture.identity.accounts().await.is_empty());
    }
}

#[tokio::test]
async fn device_code_without_entry_times_out() {
    let fixture = fixture().await;
    fixture.authority.set(|b| {
        b.device.answer = json!({ "expires_in": 1, "interval": 30 });
    });
    let ended = sign_in(&fixture, &fixture.target()).await.unwrap_err();
    assert!(ended.is_timed_out(), "{ended}");
    let SignInError::DeviceCode(ended) = ended else {
        panic!("{ended}");
    };
    let SignInError::TimedOut { waited, .. } = *ended else {
        panic!("{ended}");
    };
    assert_eq!(waited, Duration::from_secs(1));
    assert!(fixture.authority.asked("token").is_empty());
}

#[tokio::test]
async fn device_code_tokens_survive_cancelled_sign_in() {
    let fixture = fixture().await;
    let target = fixture.target();
    let flow = fixture.identity.start_device_sign_in(&target, None).await;
    let permits = fixture.authority.hold_back();
    let cancelled = tokio::spawn(flow.unwrap().finish());
    fixture
        .authority
        .asked_for("urn:ietf:params:oauth:grant-type:device_code")
        .await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    fixture.authority.gate.add_permits(permits);
    fixture.identity.settled().await;
    assert_eq!(fixture.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn polling_survives_temporary_errors() {
    let fixture = fixture().await;
    fixture.authority.set(|b| b.device.errors = vec!["busy"]);
    sign_in(&fixture, &fixture.target()).await.unwrap();
    assert_eq!(fixture.authority.asked("token").len(), 2);
}

#[tokio::test]
async fn invalid_device_response_is_rejected() {
    for answer in [
        json!({ "verification_uri": "http://198.51.100.7/device" }),
        json!({ "verification_uri": "javascript:alert(1)" }),
        json!({ "verification_uri": "--help" }),
        json!({ "verification_uri_complete": "file:///etc/passwd" }),
        json!({ "user_code": "" }),
        json!({ "user_code": "A\u{1b}[2J" }),
        json!({ "user_code": "x".repeat(65) }),
        json!({ "device_code": 1 }),
    ] {
        let fixture = fixture().await;
        fixture.authority.set(|b| b.device.answer = answer.clone());
        let target = fixture.target();
        let flow = fixture.identity.start_device_sign_in(&target, None).await;
        assert!(flow.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn server_without_device_codes_is_reported() {
    let fixture = Fixture::new().await;
    let target = fixture.target();
    let flow = fixture.identity.start_device_sign_in(&target, None).await;
    let Err(refused @ SignInError::NoDeviceCode { .. }) = flow.map(|_| ()) else {
        panic!("it went on");
    };
    assert!(refused.to_string().contains("hint: sign in with a browser"));
    let flow = fixture.begin(&target).await.unwrap();
    assert!(!flow.offers_device_code());
    assert!(fixture.authority.asked("device").is_empty());
}

#[tokio::test]
async fn early_device_code_error_offers_browser() {
    let fixture = fixture().await;
    fixture.authority.set(|b| b.device.barred = vec!["the-app"]);
    let target = fixture.entra_usual();
    let ended = sign_in(&fixture, &target).await.unwrap_err();
    assert!(ended.to_string().ends_with(OR_BROWSER), "{ended}");
    assert_eq!(ended.explanation().unwrap().error, "unauthorized_client");
}

/// Refresh errors: an invalid grant, a policy denial, and required interaction.
fn refusals() -> [Value; 3] {
    let policy = "AADSTS53003: Access has been blocked by Conditional Access policies.";
    [
        json!({ "error": "invalid_grant", "error_codes": [530_036] }),
        json!({
            "error": "invalid_grant", "suberror": "message_only", "error_codes": [53_003],
            "error_description": policy,
        }),
        json!({ "error": "interaction_required", "suberror": "basic_action" }),
    ]
}

async fn failure(identity: &Identity, target: &Target) -> AuthorizationError {
    identity.authorization(target).await.unwrap_err()
}

/// Returns true if the error asks for a sign-in in a browser.
fn asks_for_browser(error: &AuthorizationError) -> bool {
    let is_it = matches!(
        error,
        AuthorizationError::SignInNeeded {
            reason: SignInReason::DeviceCodeRefused,
            explanation: Some(_),
            ..
        }
    );
    is_it
        && error
            .to_string()
            .ends_with("; hint: sign in to it with a browser in place of a device code")
}

#[tokio::test]
async fn refused_refresh_after_device_code_needs_browser() {
    for body in refusals() {
        let fixture = fixture().await;
        let target = fixture.target();
        sign_in(&fixture, &target).await.unwrap();
        assert!(!fixture.identity.needs_browser(&target));
        fixture.advance(3600);
        let trouble = Trouble::Refusal(StatusCode::BAD_REQUEST, body.clone());
        fixture.authority.set(|b| b.trouble = Some(trouble.clone()));
        // The record says how the user signed in.
        for identity in [&fixture.restarted(), &fixture.identity] {
            for _ in ["first", "held"] {
                let error = failure(identity, &target).await;
                assert!(asks_for_browser(&error), "{body}: {error}");
                assert!(identity.needs_browser(&target), "{body}");
            }
        }
        fixture.authority.set(|b| b.trouble = None);
        fixture.sign_in(&target).await.unwrap();
        assert!(!fixture.identity.needs_browser(&target), "{body}");
        fixture.advance(3600);
        fixture.authority.set(|b| b.trouble = Some(trouble));
        let error = failure(&fixture.identity, &target).await;
        assert!(!asks_for_browser(&error), "{body}: {error}");
        let is_rule = matches!(error, AuthorizationError::Forbidden { .. });
        assert_eq!(is_rule, body["suberror"] == "message_only", "{body}");
    }
}
