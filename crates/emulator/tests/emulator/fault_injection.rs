//! Errors that are switched on, throttling, outages and the clock.

use std::num::NonZeroU32;
use std::time::Duration;

use emulator::{Command, Endpoint, Times, demo};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{BRIDGE_CALLBACK, Browser, World, http};

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

async fn table(world: &World) -> Vec<Value> {
    let errors = http().get(format!("{}/admin/errors", world.base));
    errors.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn every_row_of_the_table_is_what_the_token_endpoint_answers() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    for row in table(&world).await {
        let Some(shape) = row["token"].as_object() else {
            continue;
        };
        let number = row["number"].as_u64().unwrap() as u32;
        world.switch(fail(number)).await;
        let status = shape["status"].as_u64().unwrap() as u16;
        let error = shape["error"].as_str().unwrap();
        let body = world
            .refused(world.refresh(&tokens), status, error, number)
            .await;
        assert_eq!(body["suberror"], shape["suberror"], "{number}");
        assert_eq!(body["claims"].is_string(), shape["claims"], "{number}");
        if let Some(claims) = body["claims"].as_str() {
            let claims: Value = serde_json::from_str(claims).unwrap();
            assert!(claims["access_token"].is_object(), "{claims}");
        }
    }
    world.refreshed(&tokens).await;
}

#[tokio::test]
async fn every_row_of_the_table_is_what_the_authorization_endpoint_answers() {
    let world = World::start().await;
    let silent = [("prompt", "none")];
    for row in table(&world).await {
        let Some(shape) = row["authorize"].as_str() else {
            continue;
        };
        let number = row["number"].as_u64().unwrap() as u32;
        world.switch(fail(number)).await;
        let answer = Browser::new().open(&world.authorize(&[])).await;
        if shape == "page" {
            answer.shows_error(number);
            world.switch(fail(number)).await;
            let answer = Browser::new().open(&world.authorize(&silent)).await;
            assert_eq!(answer.parameter("error"), "interaction_required");
        } else {
            assert_eq!(answer.parameter("error"), shape, "{number}");
            assert_eq!(answer.parameter("state"), "xyz");
            let text = answer.parameter("error_description");
            assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        }
    }
    world.code(&[]).await;
}

#[tokio::test]
async fn an_error_comes_as_often_as_asked_and_leaves_the_code_usable() {
    let world = World::start().await;
    let code = world.code(&[]).await;
    let twice = Command::Fail {
        number: 90_033,
        endpoint: Some(Endpoint::Token),
        user: None,
        app: None,
        times: times(2),
    };
    let state = world.switch(twice).await;
    assert_eq!(state.rules.len(), 1);
    for _ in 0..2 {
        let request = world.token(&[("code", &code)]);
        world
            .refused(request, 503, "temporarily_unavailable", 90_033)
            .await;
    }
    assert!(world.admin.state().rules.is_empty());
    let tokens = world.redeem(&[("code", &code)]).await;

    let state = world
        .switch(Command::Fail {
            number: 50_196,
            endpoint: None,
            user: None,
            app: None,
            times: Times::Always,
        })
        .await;
    for _ in 0..3 {
        let request = world.refresh(&tokens);
        world.refused(request, 400, "invalid_grant", 50_196).await;
    }
    let rule = state.rules[0].rule;
    world.switch(Command::Remove { rule }).await;
    world.refreshed(&tokens).await;
    let gone = world.admin.apply(Command::Remove { rule }).await;
    assert!(gone.unwrap_err().to_string().contains("hint: "));
}

#[tokio::test]
async fn an_error_is_for_one_user_one_app_and_one_endpoint() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let rule = |user: &str, app: String, endpoint| Command::Fail {
        number: 9_010_010,
        endpoint: Some(endpoint),
        user: Some(user.to_owned()),
        app: Some(app),
        times: Times::ONCE,
    };
    let (bridge, gateway) = (demo::BRIDGE_CLIENT_ID, demo::GATEWAY_CLIENT_ID);
    let spa = crate::harness::SPA_ID.to_string();
    world
        .switch(rule(demo::GRADY, bridge.to_string(), Endpoint::Token))
        .await;
    world.switch(rule(demo::ADELE, spa, Endpoint::Token)).await;
    world
        .switch(rule(demo::ADELE, bridge.to_string(), Endpoint::Authorize))
        .await;
    world.refreshed(&tokens).await;

    let answer = Browser::new()
        .sign_in(&world.authorize(&[]), demo::GRADY)
        .await;
    answer.parameter("code");
    let answer = Browser::new()
        .sign_in(&world.authorize(&[]), demo::ADELE)
        .await;
    assert_eq!(answer.parameter("error"), "invalid_target");
    assert!(answer.location().as_str().starts_with(BRIDGE_CALLBACK));

    let id = demo::ADELE_OBJECT_ID.to_string();
    world
        .switch(rule(&id, gateway.to_string(), Endpoint::Token))
        .await;
    world
        .refused(world.refresh(&tokens), 400, "invalid_target", 9_010_010)
        .await;
    assert_eq!(world.admin.state().rules.len(), 2);
    assert!(world.switch(Command::Clear).await.rules.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_refused_with_what_does() {
    let world = World::start().await;
    let named = |number, endpoint, user: Option<&str>, app: Option<&str>| Command::Fail {
        number,
        endpoint,
        user: user.map(str::to_owned),
        app: app.map(str::to_owned),
        times: Times::ONCE,
    };
    let eve = Some("eve@contoso.example");
    for (command, part) in [
        (named(12_345, None, None, None), "hint: these are: 28000, "),
        (
            named(54_005, Some(Endpoint::Authorize), None, None),
            "the authorize endpoint never answers with AADSTS54005",
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
        let error = world.admin.apply(command).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(world.admin.state().rules.is_empty());
}

#[tokio::test]
async fn throttles_and_says_when_to_come_back() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let throttle = Command::Throttle {
        endpoint: Some(Endpoint::Token),
        times: times(2),
        retry_after: 17,
    };
    world.switch(throttle).await;
    let discovery = format!("{}/.well-known/openid-configuration", world.issuer());
    for _ in 0..2 {
        let metadata = http().get(&discovery).send().await.unwrap();
        assert_eq!(metadata.status(), StatusCode::OK);
        let response = world.refresh(&tokens).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "17");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error_codes"], json!([90_055]));
    }
    world.refreshed(&tokens).await;
}

#[tokio::test]
async fn an_outage_hits_everything_but_the_switches() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let outage = Command::Outage {
        endpoint: None,
        times: Times::Always,
    };
    world.switch(outage).await;
    let request = world.refresh(&tokens);
    world
        .refused(request, 503, "temporarily_unavailable", 90_033)
        .await;
    let page = Browser::new().open(&world.authorize(&[])).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.shows("data-error=\"90033\"");
    let keys = http().get(world.url("/discovery/v2.0/keys")).send().await;
    assert_eq!(keys.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);

    let clear = http()
        .post(format!("{}/admin/commands", world.base))
        .json(&json!({ "do": "clear" }));
    assert_eq!(clear.send().await.unwrap().status(), StatusCode::OK);
    world.refreshed(&tokens).await;
}

#[tokio::test]
async fn the_clock_moves_forward_on_top_of_the_one_it_was_given() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let day = 24 * 60 * 60;
    let forward = Command::Advance { seconds: 45 * day };
    world.switch(forward.clone()).await;
    world.clock.advance(Duration::from_secs(44 * day));
    assert_eq!(world.echo(&tokens).await.status(), StatusCode::UNAUTHORIZED);
    world.refreshed(&tokens).await;
    let state = world.switch(forward).await;
    assert_eq!(state.ahead_seconds, 90 * day);
    let request = world.refresh(&tokens);
    world.refused(request, 400, "invalid_grant", 700_082).await;
}
