//! Policy requirements: a page in the browser, and an error with instructions elsewhere.

use emulator::{Command, Requirement, demo};
use serde_json::Value;

use crate::harness::{BRIDGE_CALLBACK, Browser, Harness};

fn require(requirement: Requirement) -> Command {
    Command::Require {
        requirement,
        user: Some(demo::ADELE.to_owned()),
        app: Some(demo::BRIDGE_CLIENT_ID.to_string()),
    }
}

#[tokio::test]
async fn second_factor_is_requested_once_per_browser() {
    let harness = Harness::start().await;
    let before = harness.tokens().await;
    harness.apply(require(Requirement::SecondFactor)).await;
    let refused = harness.refresh(&before);
    let body = harness
        .expect_error(refused, 400, "invalid_grant", 50_076)
        .await;
    assert_eq!(body["suberror"], "basic_action");
    let claims = body["claims"].as_str().unwrap();

    let browser = Browser::new();
    let with_claims = harness.authorize(&[("claims", claims)]);
    let page = browser.sign_in(&with_claims, demo::ADELE).await;
    page.shows("data-page=\"second-factor\"");
    let silent = browser
        .open(&harness.authorize(&[("prompt", "none")]))
        .await;
    assert_eq!(silent.parameter("error"), "interaction_required");
    assert_eq!(silent.parameter("claims"), claims);
    let page = browser
        .submit(&page, &[("otc", ""), ("action", "next")])
        .await;
    page.shows("Please enter the code.");
    let response = browser
        .submit(&page, &[("otc", "123456"), ("action", "next")])
        .await;
    let code = response.parameter("code");
    let tokens = harness.redeem(&[("code", &code)]).await;
    harness.refreshed(&tokens).await;
    let again = browser.open(&harness.authorize(&[])).await;
    again.parameter("code");

    let grady = Browser::new()
        .sign_in(&harness.authorize(&[]), demo::GRADY)
        .await;
    grady.parameter("code");
}

#[tokio::test]
async fn missing_second_factor_rejects_sign_in() {
    let harness = Harness::start().await;
    harness.apply(require(Requirement::SecondFactor)).await;
    let browser = Browser::new();
    let page = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    let no = browser.submit(&page, &[("action", "back")]).await;
    assert_eq!(no.parameter("error"), "access_denied");
}

#[tokio::test]
async fn policy_blocks_sign_in_and_refresh() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    for (requirement, number, suberror) in [
        (
            Requirement::CompliantDevice,
            53_000,
            Value::from("message_only"),
        ),
        (
            Requirement::DomainJoinedDevice,
            53_001,
            "message_only".into(),
        ),
        (Requirement::ApprovedApp, 53_002, "message_only".into()),
        (Requirement::Blocked, 53_003, "message_only".into()),
        (Requirement::Assignment, 50_105, Value::Null),
    ] {
        harness.apply(require(requirement)).await;
        let request = harness.refresh(&tokens);
        let body = harness
            .expect_error(request, 400, "invalid_grant", number)
            .await;
        assert_eq!(body["suberror"], suberror);
        let page = Browser::new()
            .sign_in(&harness.authorize(&[]), demo::ADELE)
            .await;
        page.shows_error(number);
        harness.apply(Command::Clear).await;
    }
    harness.refreshed(&tokens).await;
}

/// The policies of an API apply to every client that requests tokens for it.
#[tokio::test]
async fn policy_for_api_applies_to_all_clients() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let api = Command::Require {
        requirement: Requirement::Blocked,
        user: None,
        app: Some("Postern gateway".to_owned()),
    };
    harness.apply(api).await;
    let request = harness.refresh(&tokens);
    harness
        .expect_error(request, 400, "invalid_grant", 53_003)
        .await;
    let graph = harness.code(&[("scope", "User.Read")]).await;
    harness.redeem(&[("code", &graph)]).await;
}

#[tokio::test]
async fn consent_is_requested_until_given() {
    let harness = Harness::start().await;
    let before = harness.tokens().await;
    harness.apply(require(Requirement::Consent)).await;
    let request = harness.refresh(&before);
    let body = harness
        .expect_error(request, 400, "invalid_grant", 65_001)
        .await;
    assert_eq!(body["suberror"], "consent_required");

    let browser = Browser::new();
    let page = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    page.shows("data-page=\"consent\"");
    let silent = browser
        .open(&harness.authorize(&[("prompt", "none")]))
        .await;
    assert_eq!(silent.parameter("error"), "consent_required");
    let no = browser.submit(&page, &[("action", "back")]).await;
    assert_eq!(no.parameter("error"), "access_denied");
    let page = browser.open(&harness.authorize(&[])).await;
    let yes = browser.submit(&page, &[("action", "next")]).await;
    yes.parameter("code");
    harness.refreshed(&before).await;
    browser
        .open(&harness.authorize(&[]))
        .await
        .parameter("code");

    harness.apply(require(Requirement::Consent)).await;
    let page = browser.open(&harness.authorize(&[])).await;
    page.shows("data-page=\"consent\"");
}

#[tokio::test]
async fn admin_consent_requirement_shows_approval_page() {
    let harness = Harness::start().await;
    let before = harness.tokens().await;
    let browser = Browser::new();
    for (requirement, number) in [
        (Requirement::AdminConsent, 90_094),
        (Requirement::AdminApproval, 90_095),
    ] {
        harness.apply(require(requirement)).await;
        let request = harness.refresh(&before);
        let body = harness
            .expect_error(request, 400, "invalid_grant", number)
            .await;
        assert_eq!(body["suberror"], "consent_required");

        let login = harness.authorize(&[("prompt", "login"), ("login_hint", demo::ADELE)]);
        let page = browser.open(&login).await;
        let mut page = browser.password(&page).await;
        page.shows("data-page=\"approval\"");
        if number == 90_095 {
            let why = [("justification", "work"), ("action", "next")];
            page = browser.submit(&page, &why).await;
            page.shows("Request sent");
        } else {
            assert!(!page.body.contains("Request approval"), "{}", page.body);
        }
        let response = browser.submit(&page, &[("action", "back")]).await;
        assert!(response.location().as_str().starts_with(BRIDGE_CALLBACK));
        assert_eq!(response.parameter("error"), "access_denied");
        let text = response.parameter("error_description");
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        harness.apply(Command::Clear).await;
    }
}
