//! The device authorization grant.

use std::time::Duration;

use emulator::demo::{self, ADELE, LEE};
use emulator::{Command, Endpoint, Requirement, Times};
use serde_json::Value;

use super::granted;
use crate::harness::{Browser, Harness, Page, http};
use crate::tokens::claims;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A device with its codes.
struct Device {
    client_id: String,
    authority: String,
    response: Value,
}

impl Device {
    async fn request(harness: &Harness, client_id: &str, authority: &str, scope: &str) -> Self {
        let url = format!("{}/{authority}/oauth2/v2.0/devicecode", harness.base);
        let form = [("client_id", client_id), ("scope", scope)];
        Self {
            client_id: client_id.to_owned(),
            authority: authority.to_owned(),
            response: granted(http().post(url).form(&form)).await,
        }
    }

    /// Requests codes for the bridge and the gateway's API.
    async fn bridge(harness: &Harness) -> Self {
        let scope = format!("openid offline_access {}", demo::gateway_scope());
        let client = demo::BRIDGE_CLIENT_ID.to_string();
        Self::request(harness, &client, &demo::TENANT_ID.to_string(), &scope).await
    }

    fn text(&self, name: &str) -> &str {
        self.response[name].as_str().unwrap()
    }

    /// Returns a poll for the result.
    fn poll(&self, harness: &Harness) -> reqwest::RequestBuilder {
        self.poll_with(harness, self.text("device_code"))
    }

    fn poll_with(&self, harness: &Harness, code: &str) -> reqwest::RequestBuilder {
        let form = [
            ("grant_type", GRANT),
            ("client_id", &self.client_id),
            ("device_code", code),
        ];
        harness.token_request(&self.authority, &form)
    }

    /// Enters the code and signs in as far as the confirmation page.
    async fn user_signs_in(&self, harness: &Harness, name: &str) -> (Browser, Page) {
        let browser = Browser::new();
        let page = self
            .user_enters_code(harness, &browser, self.text("user_code"))
            .await;
        let page = browser.submit(&page, &[("loginfmt", name)]).await;
        let page = browser.password(&page).await;
        page.shows("Are you trying to sign in to");
        (browser, page)
    }

    async fn user_enters_code(&self, harness: &Harness, browser: &Browser, code: &str) -> Page {
        let url = self.text("verification_uri");
        assert_eq!(url, format!("{}/devicelogin", harness.base));
        browser.open(url).await.shows("Enter code");
        browser.post(url, &[("otc", code)]).await
    }
}

#[tokio::test]
async fn device_polls_until_user_signs_in() {
    let harness = Harness::start().await;
    let device = Device::bridge(&harness).await;
    assert_eq!(device.response["expires_in"], 900);
    assert_eq!(device.response["interval"], 5);
    assert!(device.response.get("verification_uri_complete").is_none());
    let (code, message) = (device.text("user_code"), device.text("message"));
    assert_eq!(code.len(), 9);
    assert!(
        message.contains(code) && message.contains("/devicelogin"),
        "{message}"
    );

    for _ in 0..3 {
        let early = device.poll(&harness);
        harness
            .expect_error(early, 400, "authorization_pending", 70_016)
            .await;
    }
    let (browser, page) = device.user_signs_in(&harness, ADELE).await;
    let early = device.poll(&harness);
    harness
        .expect_error(early, 400, "authorization_pending", 70_016)
        .await;
    let end = browser.submit(&page, &[("action", "next")]).await;
    end.shows("You have signed in to Postern bridge on your device");
    assert!(!end.headers.contains_key("location"));

    let tokens = granted(device.poll(&harness)).await;
    assert_eq!(tokens["scope"], demo::gateway_scope());
    assert_eq!(claims(&tokens["access_token"])["azpacr"], "0");
    assert!(tokens["refresh_token"].is_string());
    let again = device.poll(&harness);
    harness
        .expect_error(again, 400, "invalid_grant", 54_005)
        .await;
}

#[tokio::test]
async fn declined_device_code_returns_65004() {
    let harness = Harness::start().await;
    let device = Device::bridge(&harness).await;
    let (browser, page) = device.user_signs_in(&harness, ADELE).await;
    let end = browser.submit(&page, &[("action", "back")]).await;
    end.shows("You did not sign in to Postern bridge");
    let declined = device.poll(&harness);
    harness
        .expect_error(declined, 400, "authorization_declined", 65_004)
        .await;
    let late = browser.submit(&page, &[("action", "next")]).await;
    late.shows_error(70_019);
}

#[tokio::test]
async fn device_codes_expire_after_fifteen_minutes() {
    let harness = Harness::start().await;
    let device = Device::bridge(&harness).await;
    let (browser, page) = device.user_signs_in(&harness, ADELE).await;
    harness.clock.advance(Duration::from_secs(900));
    let late = device.poll(&harness);
    harness
        .expect_error(late, 400, "expired_token", 70_019)
        .await;
    browser
        .submit(&page, &[("action", "next")])
        .await
        .shows_error(70_019);
    let code = device.text("user_code");
    let page = device.user_enters_code(&harness, &browser, code).await;
    page.shows("That code didn’t work");
}

#[tokio::test]
async fn user_code_ignores_case_and_separators() {
    let harness = Harness::start().await;
    let device = Device::bridge(&harness).await;
    let code = device.text("user_code").to_lowercase();
    let spaced = format!(" {} {} ", &code[..4], &code[4..]);
    let browser = Browser::new();
    device
        .user_enters_code(&harness, &browser, "ABCDEFGHI")
        .await
        .shows("That code didn’t work");
    device
        .user_enters_code(&harness, &browser, "")
        .await
        .shows("That code didn’t work");
    device
        .user_enters_code(&harness, &browser, &spaced)
        .await
        .shows("to continue to Postern bridge");
    let typed = format!("{}?otc={code}", device.text("verification_uri"));
    assert_eq!(browser.open(&typed).await.value_of("otc"), code);
    let hostile = format!("{}?otc=%22%3E%3Cb%3E", device.text("verification_uri"));
    assert!(!browser.open(&hostile).await.body.contains("\"><b>"));
}

#[tokio::test]
async fn device_code_works_for_its_client_only() {
    let harness = Harness::start().await;
    let device = Device::bridge(&harness).await;
    let unknown = device.poll_with(&harness, "made-up");
    harness
        .expect_error(unknown, 400, "bad_verification_code", 70_018)
        .await;
    let missing = device.poll_with(&harness, "");
    harness
        .expect_error(missing, 400, "invalid_request", 900_144)
        .await;
    let notes = demo::NOTES_CLIENT_ID.to_string();
    let foreign = Device {
        client_id: notes,
        authority: device.authority.clone(),
        response: device.response.clone(),
    };
    let foreign = foreign.poll(&harness);
    harness
        .expect_error(foreign, 400, "bad_verification_code", 70_018)
        .await;
}

#[tokio::test]
async fn device_request_with_unknown_values_is_rejected() {
    let harness = Harness::start().await;
    let client = demo::BRIDGE_CLIENT_ID.to_string();
    let ask = |authority: &str, form: &[(&str, &str)]| {
        let url = format!("{}/{authority}/oauth2/v2.0/devicecode", harness.base);
        http().post(url).form(form)
    };
    let own = demo::TENANT_ID.to_string();
    let id = ("client_id", client.as_str());
    for (authority, form, error, code) in [
        (own.as_str(), &[id] as &[_], "invalid_request", 900_144),
        (&own, &[("scope", "openid")], "invalid_request", 900_144),
        (
            &own,
            &[id, ("scope", "mcp.read")],
            "invalid_client",
            650_053,
        ),
        (
            "common",
            &[id, ("scope", "openid")],
            "invalid_request",
            50_194,
        ),
        (
            "nowhere.example",
            &[id, ("scope", "openid")],
            "invalid_request",
            90_002,
        ),
    ] {
        harness
            .expect_error(ask(authority, form), 400, error, code)
            .await;
    }
}

#[tokio::test]
async fn personal_account_signs_in_to_device() {
    let harness = Harness::start().await;
    let notes = demo::NOTES_CLIENT_ID.to_string();
    let device = Device::request(&harness, &notes, "common", "openid User.Read").await;
    let (browser, page) = device.user_signs_in(&harness, LEE).await;
    browser.submit(&page, &[("action", "next")]).await;
    let form = [
        // Older clients send this grant type.
        ("grant_type", "device_code"),
        ("client_id", &notes),
        ("code", device.text("device_code")),
        ("client_info", "1"),
    ];
    let tokens = granted(harness.token_request("common", &form)).await;
    assert_eq!(
        claims(&tokens["id_token"])["tid"],
        emulator::CONSUMERS.to_string()
    );
}

#[tokio::test]
async fn device_flow_applies_injected_errors_and_policies() {
    let harness = Harness::start().await;
    let fail = |number, endpoint| Command::Fail {
        number,
        endpoint,
        user: None,
        app: None,
        times: Times::ONCE,
    };
    harness
        .apply(fail(700_016, Some(Endpoint::DeviceCode)))
        .await;
    let url = harness.url("/oauth2/v2.0/devicecode");
    let client = demo::BRIDGE_CLIENT_ID.to_string();
    let form = [("client_id", client.as_str()), ("scope", "openid")];
    let request = http().post(url).form(&form);
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["error_codes"], serde_json::json!([700_016]));

    let device = Device::bridge(&harness).await;
    harness.apply(fail(50_196, Some(Endpoint::Token))).await;
    let poll = device.poll(&harness);
    harness
        .expect_error(poll, 400, "invalid_grant", 50_196)
        .await;
    let poll = device.poll(&harness);
    harness
        .expect_error(poll, 400, "authorization_pending", 70_016)
        .await;
    let consent = Command::Require {
        requirement: Requirement::Consent,
        user: None,
        app: None,
    };
    harness.apply(consent).await;
    let browser = Browser::new();
    let page = device
        .user_enters_code(&harness, &browser, device.text("user_code"))
        .await;
    let page = browser.submit(&page, &[("loginfmt", ADELE)]).await;
    let page = browser.password(&page).await;
    page.shows("data-page=\"consent\"");
    let page = browser.submit(&page, &[("action", "next")]).await;
    page.shows("Are you trying to sign in to");
    browser.submit(&page, &[("action", "next")]).await;

    let blocked = Command::Require {
        requirement: Requirement::Blocked,
        user: Some(ADELE.to_owned()),
        app: None,
    };
    let state = harness.apply(blocked).await;
    let poll = device.poll(&harness);
    harness
        .expect_error(poll, 400, "invalid_grant", 53_003)
        .await;
    let rule = state.rules.last().unwrap().rule;
    harness.apply(Command::Remove { rule }).await;
    granted(device.poll(&harness)).await;
}
