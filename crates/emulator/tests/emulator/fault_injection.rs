//! Injected errors, throttling, outages and the clock.

use std::num::NonZeroU32;
use std::time::Duration;

use emulator::{Command, Endpoint, Times, demo};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{BRIDGE_CALLBACK, Browser, Harness, http};

fn fail(number: u32) -> Command {
    Command::Fail {
        number,
        endpoint: None,
        user: None,
        app: None,
        times: Times::ONCE,
    }
}

fn times(count: u32) -> Times {
    Times::Next(NonZeroU32::new(count).unwrap())
}

async fn table(harness: &Harness) -> Vec<Value> {
    let errors = http().get(format!("{}/admin/errors", harness.base));
    errors.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn token_endpoint_returns_every_injected_error() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    for row in table(&harness).await {
        let Some(shape) = row["token"].as_object() else {
            continue;
        };
        let number = row["number"].as_u64().unwrap() as u32;
        harness.apply(fail(number)).await;
        let status = shape["status"].as_u64().unwrap() as u16;
        let error = shape["error"].as_str().unwrap();
        let body = harness
            .expect_error(harness.refresh(&tokens), status, error, number)
            .await;
        assert_eq!(body["suberror"], shape["suberror"], "{number}");
        assert_eq!(body["claims"].is_string(), shape["claims"], "{number}");
        if let Some(claims) = body["claims"].as_str() {
            let claims: Value = serde_json::from_str(claims).unwrap();
            assert!(claims["access_token"].is_object(), "{claims}");
        }
    }
    harness.refreshed(&tokens).await;
}

#[tokio::test]
async fn authorization_endpoint_returns_every_injected_error() {
    let harness = Harness::start().await;
    let silent = [("prompt", "none")];
    for row in table(&harness).await {
        let Some(shape) = row["authorize"].as_str() else {
            continue;
        };
        let number = row["number"].as_u64().unwrap() as u32;
        harness.apply(fail(number)).await;
        let response = Browser::new().open(&harness.authorize(&[])).await;
        if shape == "page" {
            response.shows_error(number);
            harness.apply(fail(number)).await;
            let response = Browser::new().open(&harness.authorize(&silent)).await;
            assert_eq!(response.parameter("error"), "interaction_required");
        } else {
            assert_eq!(response.parameter("error"), shape, "{number}");
            assert_eq!(response.parameter("state"), "xyz");
            let text = response.parameter("error_description");
            assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        }
    }
    harness.code(&[]).await;
}

#[tokio::test]
async fn injected_error_repeats_as_set_and_keeps_code_valid() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let twice = Command::Fail {
        number: 90_033,
        endpoint: Some(Endpoint::Token),
        user: None,
        app: None,
        times: times(2),
    };
    let state = harness.apply(twice).await;
    assert_eq!(state.rules.len(), 1);
    for _ in 0..2 {
        let request = harness.token(&[("code", &code)]);
        harness
            .expect_error(request, 503, "temporarily_unavailable", 90_033)
            .await;
    }
    assert!(harness.admin.state().rules.is_empty());
    let tokens = harness.redeem(&[("code", &code)]).await;

    let state = harness
        .apply(Command::Fail {
            number: 50_196,
            endpoint: None,
            user: None,
            app: None,
            times: Times::Always,
        })
        .await;
    for _ in 0..3 {
        let request = harness.refresh(&tokens);
        harness
            .expect_error(request, 400, "invalid_grant", 50_196)
            .await;
    }
    let rule = state.rules[0].rule;
    harness.apply(Command::Remove { rule }).await;
    harness.refreshed(&tokens).await;
    let gone = harness.admin.apply(Command::Remove { rule }).await;
    assert!(gone.unwrap_err().to_string().contains("hint: "));
}

#[tokio::test]
async fn injected_error_matches_user_app_and_endpoint() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let rule = |user: &str, app: String, endpoint| Command::Fail {
        number: 9_010_010,
        endpoint: Some(endpoint),
        user: Some(user.to_owned()),
        app: Some(app),
        times: Times::ONCE,
    };
    let (bridge, gateway) = (demo::BRIDGE_CLIENT_ID, demo::GATEWAY_CLIENT_ID);
    let spa = crate::harness::SPA_ID.to_string();
    harness
        .apply(rule(demo::GRADY, bridge.to_string(), Endpoint::Token))
        .await;
    harness.apply(rule(demo::ADELE, spa, Endpoint::Token)).await;
    harness
        .apply(rule(demo::ADELE, bridge.to_string(), Endpoint::Authorize))
        .await;
    harness.refreshed(&tokens).await;

    let response = Browser::new()
        .sign_in(&harness.authorize(&[]), demo::GRADY)
        .await;
    response.parameter("code");
    let response = Browser::new()
        .sign_in(&harness.authorize(&[]), demo::ADELE)
        .await;
    assert_eq!(response.parameter("error"), "invalid_target");
    assert!(response.location().as_str().starts_with(BRIDGE_CALLBACK));

    let id = demo::ADELE_OBJECT_ID.to_string();
    harness
        .apply(rule(&id, gateway.to_string(), Endpoint::Token))
        .await;
    harness
        .expect_error(harness.refresh(&tokens), 400, "invalid_target", 9_010_010)
        .await;
    assert_eq!(harness.admin.state().rules.len(), 2);
    assert!(harness.apply(Command::Clear).await.rules.is_empty());
}

#[tokio::test]
async fn command_with_unknown_value_lists_valid_values() {
    let harness = Harness::start().await;
    let named = |number, endpoint, user: Option<&str>, app: Option<&str>| Command::Fail {
        number,
        endpoint,
        user: user.map(str::to_owned),
        app: app.map(str::to_owned),
        times: Times::ONCE,
    };
    let eve = Some("eve@contoso.example");
    for (command, part) in [
        (named(12_345, None, None, None), "hint: use one of: 28000, "),
        (
            named(54_005, Some(Endpoint::Authorize), None, None),
            "the authorize endpoint never returns AADSTS54005",
        ),
        (named(50_076, None, eve, None), "no user \"eve@contoso"),
        (named(50_076, None, None, Some("none")), "no app \"none\""),
        (
            Command::RevokeSessions {
                user: "x".to_owned(),
            },
            "no user \"x\"",
        ),
        (Command::Remove { rule: 7 }, "no rule 7"),
    ] {
        let error = harness.admin.apply(command).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(harness.admin.state().rules.is_empty());
}

#[tokio::test]
async fn throttling_returns_429_with_retry_after() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let throttle = Command::Throttle {
        endpoint: Some(Endpoint::Token),
        times: times(2),
        retry_after: 17,
    };
    harness.apply(throttle).await;
    let discovery = format!("{}/.well-known/openid-configuration", harness.issuer());
    for _ in 0..2 {
        let metadata = http().get(&discovery).send().await.unwrap();
        assert_eq!(metadata.status(), StatusCode::OK);
        let response = harness.refresh(&tokens).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "17");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error_codes"], json!([90_055]));
    }
    harness.refreshed(&tokens).await;
}

#[tokio::test]
async fn outage_affects_all_paths_except_admin() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let outage = Command::Outage {
        endpoint: None,
        times: Times::Always,
    };
    harness.apply(outage).await;
    let request = harness.refresh(&tokens);
    harness
        .expect_error(request, 503, "temporarily_unavailable", 90_033)
        .await;
    let page = Browser::new().open(&harness.authorize(&[])).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.shows("data-error=\"90033\"");
    let keys = http().get(harness.url("/discovery/v2.0/keys")).send().await;
    assert_eq!(keys.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);

    let clear = http()
        .post(format!("{}/admin/commands", harness.base))
        .json(&json!({ "do": "clear" }));
    assert_eq!(clear.send().await.unwrap().status(), StatusCode::OK);
    harness.refreshed(&tokens).await;
}

#[tokio::test]
async fn advance_adds_to_given_clock() {
    let harness = Harness::start().await;
    let tokens = harness.tokens().await;
    let day = 24 * 60 * 60;
    let forward = Command::Advance { seconds: 45 * day };
    harness.apply(forward.clone()).await;
    harness.clock.advance(Duration::from_secs(44 * day));
    assert_eq!(
        harness.echo(&tokens).await.status(),
        StatusCode::UNAUTHORIZED
    );
    harness.refreshed(&tokens).await;
    let state = harness.apply(forward).await;
    assert_eq!(state.ahead_seconds, 90 * day);
    let request = harness.refresh(&tokens);
    harness
        .expect_error(request, 400, "invalid_grant", 700_082)
        .await;
}
