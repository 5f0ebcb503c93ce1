//! Signing in by a code that is entered elsewhere (RFC 8628).

use std::time::Duration;

use auth::{AuthorizationError, Identity, SignInError, SignInReason, Target};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::START;
use super::authority::{Parameters, Rotation, TENANT, Trouble};
use super::fixture::Desk;

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.authority.offer_device_codes();
    desk
}

async fn sign_in(desk: &Desk, target: &Target) -> Result<auth::Account, SignInError> {
    let flow = desk.identity.start_device_sign_in(target, None).await?;
    flow.finish().await
}

#[tokio::test]
async fn a_code_that_is_entered_elsewhere_signs_in_here() {
    let desk = desk().await;
    let complete = format!("{}/device?user_code=WDJB-MJHT", desk.authority.origin);
    desk.authority.set(|b| {
        b.device.answer = json!({ "verification_uri_complete": complete });
        b.device.errors = vec!["authorization_pending"];
    });
    let target = desk.target();
    let flow = desk.identity.start_device_sign_in(&target, None).await;
    let flow = flow.unwrap();
    assert_eq!(flow.user_code(), "WDJB-MJHT");
    let page = format!("{}/device", desk.authority.origin);
    assert_eq!(flow.verification_uri().url().as_str(), page);
    assert_eq!(flow.complete_uri().unwrap().url().as_str(), complete);
    assert_eq!(flow.expires_at(), START + 900);
    let account = flow.finish().await.unwrap();
    assert_eq!(account.username.as_deref(), Some("alice@contoso.example"));
    assert_eq!(desk.header(&target).await, "Bearer access-1");

    let asked = &desk.authority.asked("device")[0];
    assert_eq!(asked["client_id"], "client-1");
    assert_eq!(asked["scope"], "mcp.read offline_access");
    let polled = desk
        .authority
        .grants("urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polled.len(), 2);
    for request in polled.iter().chain([asked]) {
        assert_eq!(
            request["resource"],
            format!("{}/mcp", desk.authority.origin)
        );
    }
    desk.advance(3600);
    assert_eq!(desk.header(&target).await, "Bearer access-2", "it renews");
}

#[tokio::test]
async fn one_registration_serves_the_browser_and_the_code() {
    let desk = desk().await;
    let target = desk.target();
    sign_in(&desk, &target).await.unwrap();
    desk.sign_in(&target).await.unwrap();
    sign_in(&desk, &target).await.unwrap();
    let registered = desk.authority.asked("register");
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
async fn a_registration_that_is_not_for_codes_is_made_anew() {
    let desk = desk().await;
    desk.authority.set(|b| b.device.barred = vec!["client-1"]);
    let target = desk.target();
    desk.sign_in(&target).await.unwrap();
    sign_in(&desk, &target).await.unwrap();
    let asked = desk.authority.asked("device");
    let clients: Vec<_> = asked.iter().map(|asked| &*asked["client_id"]).collect();
    assert_eq!(clients, ["client-1", "client-2"]);
}

#[tokio::test]
async fn a_server_that_registers_nobody_for_codes_is_signed_in_to_in_a_browser() {
    let desk = desk().await;
    desk.authority.set(|b| b.device.registrable = false);
    let target = desk.target();
    let refused = sign_in(&desk, &target).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::NoDeviceCode { .. }),
        "{refused}"
    );
    desk.sign_in(&target).await.unwrap();
    let asked = desk.authority.asked("register");
    let is_for_codes = |asked: &Parameters| asked["body"].contains("device_code");
    let for_codes: Vec<_> = asked.iter().map(is_for_codes).collect();
    assert_eq!(for_codes, [true, true, false]);

    desk.authority.set(|b| b.device.barred = vec!["client-3"]);
    let refused = sign_in(&desk, &target).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::NoDeviceCode { .. }),
        "{refused}"
    );
    desk.sign_in(&target).await.unwrap();
    let clients = desk.authority.asked("authorize");
    let mut clients = clients.iter().map(|asked| &*asked["client_id"]);
    assert!(clients.all(|client| client == "client-3"), "it is kept");
}

#[tokio::test]
async fn entra_names_the_audience_by_scopes_and_its_own_word_for_no_is_understood() {
    let desk = desk().await;
    desk.authority.set(|b| b.rotation = Rotation::Lenient);
    let target = desk.entra_usual();
    let account = sign_in(&desk, &target).await.unwrap();
    assert_eq!(account.tenant.as_deref(), Some(TENANT));
    let asked = &desk.authority.asked("device")[0];
    assert_eq!(
        asked["scope"],
        "api://the-api/mcp.read openid profile offline_access"
    );
    assert_eq!(asked["client_id"], "the-app");
    for request in desk.authority.asked("token").iter().chain([asked]) {
        assert!(!request.contains_key("resource"));
    }

    desk.authority
        .set(|b| b.device.errors = vec!["authorization_declined"]);
    let declined = sign_in(&desk, &target).await.unwrap_err();
    assert!(is_declined(&declined), "{declined}");
    assert_eq!(desk.header(&target).await, "Bearer access-1", "still there");
}

const OR_BROWSER: &str = ", or sign in with a browser in place of the device code";

fn is_declined(error: &SignInError) -> bool {
    match error {
        SignInError::DeviceCode(ended) => is_declined(ended),
        error => matches!(error, SignInError::Declined { .. }),
    }
}

#[tokio::test]
async fn each_end_without_tokens_is_told_apart() {
    for (error, expected) in [
        ("access_denied", "declined"),
        ("expired_token", "nobody finished the sign-in"),
        ("bad_verification_code", "bad_verification_code"),
        ("invalid_grant", "invalid_grant"),
    ] {
        let desk = desk().await;
        desk.authority.set(|b| b.device.errors = vec![error]);
        let ended = sign_in(&desk, &desk.target()).await.unwrap_err();
        assert!(ended.to_string().contains(expected), "{ended}");
        let text = ended.to_string();
        let (_, hint) = text.split_once("; hint: ").unwrap();
        assert!(hint.ends_with(OR_BROWSER), "{hint}");
        assert!(desk.identity.accounts().await.is_empty());
    }
}

#[tokio::test]
async fn a_code_that_nobody_enters_ends_by_itself() {
    let desk = desk().await;
    desk.authority.set(|b| {
        b.device.answer = json!({ "expires_in": 1, "interval": 30 });
    });
    let ended = sign_in(&desk, &desk.target()).await.unwrap_err();
    assert!(ended.is_timed_out(), "{ended}");
    let SignInError::DeviceCode(ended) = ended else {
        panic!("{ended}");
    };
    let SignInError::TimedOut { waited, .. } = *ended else {
        panic!("{ended}");
    };
    assert_eq!(waited, Duration::from_secs(1));
    assert!(desk.authority.asked("token").is_empty());
}

#[tokio::test]
async fn a_code_that_was_entered_brings_tokens_though_the_sign_in_is_cancelled() {
    let desk = desk().await;
    let target = desk.target();
    let flow = desk.identity.start_device_sign_in(&target, None).await;
    let permits = desk.authority.hold_back();
    let cancelled = tokio::spawn(flow.unwrap().finish());
    desk.authority
        .asked_for("urn:ietf:params:oauth:grant-type:device_code")
        .await;
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    desk.authority.gate.add_permits(permits);
    desk.identity.settled().await;
    assert_eq!(desk.header(&target).await, "Bearer access-1");
}

#[tokio::test]
async fn trouble_on_the_way_is_waited_out() {
    let desk = desk().await;
    desk.authority.set(|b| b.device.errors = vec!["busy"]);
    sign_in(&desk, &desk.target()).await.unwrap();
    assert_eq!(desk.authority.asked("token").len(), 2);
}

#[tokio::test]
async fn what_is_not_fit_to_be_shown_is_refused() {
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
        let desk = desk().await;
        desk.authority.set(|b| b.device.answer = answer.clone());
        let target = desk.target();
        let flow = desk.identity.start_device_sign_in(&target, None).await;
        assert!(flow.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn a_server_without_codes_is_said_to_be_one() {
    let desk = Desk::new().await;
    let target = desk.target();
    let flow = desk.identity.start_device_sign_in(&target, None).await;
    let Err(refused @ SignInError::NoDeviceCode { .. }) = flow.map(|_| ()) else {
        panic!("it went on");
    };
    assert!(refused.to_string().contains("hint: sign in with a browser"));
    let flow = desk.begin(&target).await.unwrap();
    assert!(!flow.offers_device_code());
    assert!(desk.authority.asked("device").is_empty());
}

#[tokio::test]
async fn refusal_before_the_code_is_shown_offers_a_browser() {
    let desk = desk().await;
    desk.authority.set(|b| b.device.barred = vec!["the-app"]);
    let target = desk.entra_usual();
    let ended = sign_in(&desk, &target).await.unwrap_err();
    assert!(ended.to_string().ends_with(OR_BROWSER), "{ended}");
    assert_eq!(ended.explanation().unwrap().error, "unauthorized_client");
}

/// Refusals of a refresh: of a dead grant, by a policy, and until the user has done something.
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

/// Whether a sign-in with a browser is asked for.
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
async fn refused_refresh_of_device_code_grant_asks_for_browser() {
    for body in refusals() {
        let desk = desk().await;
        let target = desk.target();
        sign_in(&desk, &target).await.unwrap();
        assert!(!desk.identity.needs_browser(&target));
        desk.advance(3600);
        let trouble = Trouble::Refusal(StatusCode::BAD_REQUEST, body.clone());
        desk.authority.set(|b| b.trouble = Some(trouble.clone()));
        // The record says how the user signed in.
        for identity in [&desk.restarted(), &desk.identity] {
            for _ in ["first", "held"] {
                let error = failure(identity, &target).await;
                assert!(asks_for_browser(&error), "{body}: {error}");
                assert!(identity.needs_browser(&target), "{body}");
            }
        }
        desk.authority.set(|b| b.trouble = None);
        desk.sign_in(&target).await.unwrap();
        assert!(!desk.identity.needs_browser(&target), "{body}");
        desk.advance(3600);
        desk.authority.set(|b| b.trouble = Some(trouble));
        let error = failure(&desk.identity, &target).await;
        assert!(!asks_for_browser(&error), "{body}: {error}");
        let is_rule = matches!(error, AuthorizationError::Forbidden { .. });
        assert_eq!(is_rule, body["suberror"] == "message_only", "{body}");
    }
}
