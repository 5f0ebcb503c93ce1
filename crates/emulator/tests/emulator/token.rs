//! The token endpoint: grants, platforms and errors.

use std::time::Duration;

use emulator::demo;
use serde_json::json;

use crate::harness::{API_URL, GATEWAY_CALLBACK, Harness, SPA_CALLBACK, SPA_ID, VERIFIER, http};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn code_is_single_use() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["scope"], demo::gateway_scope());
    let life = tokens["expires_in"].as_u64().unwrap();
    assert!((3600..5400).contains(&life), "{life}");
    assert_eq!(tokens["ext_expires_in"], tokens["expires_in"]);
    let again = harness.token(&[("code", &code)]);
    harness
        .expect_error(again, 400, "invalid_grant", 54_005)
        .await;
}

#[tokio::test]
async fn code_expires_after_ten_minutes() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    harness.clock.advance(Duration::from_secs(600));
    let late = harness.token(&[("code", &code)]);
    harness
        .expect_error(late, 400, "invalid_grant", 70_008)
        .await;
}

#[tokio::test]
async fn code_is_bound_to_verifier_redirect_and_client() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let (spa, gateway) = (SPA_ID.to_string(), demo::GATEWAY_CLIENT_ID.to_string());
    let wrong = "a".repeat(43);
    for (parameters, error, number) in [
        (&[("code_verifier", "")] as &[_], "invalid_grant", 50_148),
        (
            &[("code_verifier", wrong.as_str())],
            "invalid_grant",
            501_481,
        ),
        (
            &[("redirect_uri", "http://localhost:40124/")],
            "invalid_client",
            500_112,
        ),
        (&[("redirect_uri", "")], "invalid_request", 900_144),
        (
            &[
                ("client_id", gateway.as_str()),
                ("client_secret", demo::GATEWAY_SECRET),
            ],
            "invalid_grant",
            70_000,
        ),
        (&[("code", "1.made-up")], "invalid_grant", 9_002_313),
        (&[("code", "")], "invalid_request", 900_144),
    ] {
        let mut all = vec![("code", code.as_str())];
        all.retain(|(name, _)| parameters.iter().all(|(other, _)| other != name));
        all.extend(parameters);
        harness
            .expect_error(harness.token(&all), 400, error, number)
            .await;
    }
    let foreign = harness
        .token(&[("code", &code), ("client_id", &spa)])
        .header("origin", "http://localhost");
    harness
        .expect_error(foreign, 400, "invalid_grant", 70_000)
        .await;
    harness.redeem(&[("code", &code)]).await;
}

#[tokio::test]
async fn plain_challenge_equals_verifier() {
    let harness = Harness::start().await;
    for method in ["plain", ""] {
        let plain = [
            ("code_challenge", VERIFIER),
            ("code_challenge_method", method),
        ];
        let code = harness.code(&plain).await;
        let wrong = harness.token(&[("code", &code), ("code_verifier", "x")]);
        harness
            .expect_error(wrong, 400, "invalid_grant", 501_481)
            .await;
        harness.redeem(&[("code", &code)]).await;
    }
}

#[tokio::test]
async fn malformed_request_error_names_parameter() {
    let harness = Harness::start().await;
    let unknown_client = "11111111-1111-4111-8111-111111111111";
    for (parameters, status, error, number) in [
        (
            &[("grant_type", "")] as &[_],
            400,
            "invalid_request",
            900_144,
        ),
        (
            &[("grant_type", "password")],
            400,
            "unsupported_grant_type",
            70_003,
        ),
        (&[("client_id", "")], 400, "invalid_request", 900_144),
        (
            &[("client_id", "bridge")],
            400,
            "unauthorized_client",
            700_038,
        ),
        (
            &[("client_id", unknown_client)],
            400,
            "unauthorized_client",
            700_016,
        ),
    ] {
        harness
            .expect_error(harness.token(parameters), status, error, number)
            .await;
    }
    let endpoint = harness.url("/oauth2/v2.0/token");
    let twice = [
        ("grant_type", "refresh_token"),
        ("grant_type", "refresh_token"),
    ];
    let twice = http().post(&endpoint).form(&twice);
    harness
        .expect_error(twice, 400, "invalid_request", 9_000_411)
        .await;
    let json = http()
        .post(&endpoint)
        .json(&json!({ "grant_type": "refresh_token" }));
    harness
        .expect_error(json, 400, "invalid_request", 900_144)
        .await;
    harness
        .expect_error(http().get(&endpoint), 400, "invalid_request", 900_561)
        .await;
    let common = format!("{}/common/oauth2/v2.0/token", harness.base);
    let client = demo::BRIDGE_CLIENT_ID.to_string();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client.as_str()),
    ];
    harness
        .expect_error(
            http().post(common).form(&form),
            400,
            "invalid_request",
            50_194,
        )
        .await;
    let nowhere = format!("{}/nowhere.example/oauth2/v2.0/token", harness.base);
    harness
        .expect_error(
            http().post(nowhere).form(&form),
            400,
            "invalid_request",
            90_002,
        )
        .await;
}

#[tokio::test]
async fn correlation_id_is_taken_from_client() {
    let harness = Harness::start().await;
    let id = "7f3c0c1e-52c7-4c0f-8a55-6f4f0a1c2d01";
    let request = harness
        .token(&[("code", "x")])
        .header("client-request-id", id);
    let body = harness
        .expect_error(request, 400, "invalid_grant", 9_002_313)
        .await;
    assert_eq!(body["correlation_id"], id);
}

#[tokio::test]
async fn web_app_must_authenticate() {
    let harness = Harness::start().await;
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    let web = [
        ("client_id", gateway.as_str()),
        ("redirect_uri", GATEWAY_CALLBACK),
        ("scope", "openid User.Read"),
    ];
    let code = harness.code(&web).await;
    let with = |extra: &[(&'static str, &'static str)]| {
        let mut all = web.to_vec();
        all.push(("code", code.as_str()));
        all.extend(extra);
        harness.token(&all)
    };
    harness
        .expect_error(with(&[]), 401, "invalid_client", 7_000_218)
        .await;
    let wrong = with(&[("client_secret", "wrong")]);
    harness
        .expect_error(wrong, 401, "invalid_client", 7_000_215)
        .await;
    let cross = with(&[("client_secret", demo::GATEWAY_SECRET)]).header("origin", "https://x");
    harness
        .expect_error(cross, 400, "invalid_request", 9_002_326)
        .await;
    let wrong = with(&[]).basic_auth(&gateway, Some("wrong"));
    harness
        .expect_error(wrong, 401, "invalid_client", 7_000_215)
        .await;
    let other = with(&[]).basic_auth(demo::BRIDGE_CLIENT_ID, Some(demo::GATEWAY_SECRET));
    harness
        .expect_error(other, 400, "invalid_request", 9_002_313)
        .await;
    let basic = with(&[]).basic_auth(&gateway, Some(demo::GATEWAY_SECRET));
    assert_eq!(basic.send().await.unwrap().status(), 200);
    let code = harness.code(&web).await;
    let mut posted = web.to_vec();
    posted.extend([
        ("code", code.as_str()),
        ("client_secret", demo::GATEWAY_SECRET),
    ]);
    harness.redeem(&posted).await;
}

#[tokio::test]
async fn public_client_with_secret_or_origin_is_rejected() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let secret = harness.token(&[("code", &code), ("client_secret", "x")]);
    harness
        .expect_error(secret, 401, "invalid_client", 700_025)
        .await;
    let cross = harness
        .token(&[("code", &code)])
        .header("origin", "https://app.example");
    harness
        .expect_error(cross, 400, "invalid_request", 9_002_326)
        .await;
}

#[tokio::test]
async fn single_page_app_tokens_expire_after_one_day() {
    let harness = Harness::start().await;
    let spa = SPA_ID.to_string();
    let app = [("client_id", spa.as_str()), ("redirect_uri", SPA_CALLBACK)];
    let code = harness.code(&app).await;
    let mut form = app.to_vec();
    form.push(("code", &code));
    harness
        .expect_error(harness.token(&form), 400, "invalid_request", 9_002_327)
        .await;
    let request = harness
        .token(&form)
        .header("origin", "http://localhost:3000");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let tokens: serde_json::Value = response.json().await.unwrap();
    let mut refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let use_it = |token: &str| {
        let form = [
            ("client_id", spa.as_str()),
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
        ];
        harness
            .token(&form)
            .header("origin", "http://localhost:3000")
    };
    for _ in 0..2 {
        harness.clock.advance(Duration::from_secs(DAY / 3));
        let tokens: serde_json::Value =
            use_it(&refresh).send().await.unwrap().json().await.unwrap();
        refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    }
    harness.clock.advance(Duration::from_secs(DAY / 3));
    harness
        .expect_error(use_it(&refresh), 400, "invalid_grant", 700_084)
        .await;
}

#[tokio::test]
async fn tokens_not_requested_are_not_issued() {
    let harness = Harness::start().await;
    let code = harness.code(&[("scope", &demo::gateway_scope())]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    for absent in ["refresh_token", "id_token", "client_info", "refresh_in"] {
        assert!(tokens.get(absent).is_none(), "{absent}");
    }
    let code = harness.code(&[("scope", "openid")]).await;
    let tokens = harness
        .redeem(&[("code", &code), ("client_info", "1")])
        .await;
    assert!(tokens.get("id_token").is_some() && tokens.get("client_info").is_some());
    assert!(tokens.get("refresh_token").is_none());
}

#[tokio::test]
async fn request_for_several_resources_is_rejected() {
    let harness = Harness::start().await;
    let both = format!("offline_access User.Read {}", demo::gateway_scope());
    let code = harness.code(&[("scope", &both)]).await;
    let none = harness.token(&[("code", &code)]);
    harness
        .expect_error(none, 400, "invalid_request", 28_003)
        .await;
    let several = harness.token(&[("code", &code), ("scope", &both)]);
    harness
        .expect_error(several, 400, "invalid_request", 28_000)
        .await;
    let bare = harness.token(&[("code", &code), ("scope", "mcp.access")]);
    harness
        .expect_error(bare, 400, "invalid_client", 650_053)
        .await;
    let tokens = harness
        .redeem(&[("code", &code), ("scope", &demo::gateway_scope())])
        .await;
    assert_eq!(tokens["scope"], demo::gateway_scope());
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let first = refreshed(&harness, refresh, &[("scope", &both)]).await;
    assert_eq!(first["scope"], "User.Read");
}

async fn refreshed(harness: &Harness, token: &str, extra: &[(&str, &str)]) -> serde_json::Value {
    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("redirect_uri", ""),
        ("code_verifier", ""),
    ];
    form.extend(extra);
    harness.redeem(&form).await
}

#[tokio::test]
async fn refresh_returns_new_token_and_keeps_old_one_valid() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let first = tokens["refresh_token"].as_str().unwrap();
    let second = refreshed(&harness, first, &[]).await;
    assert_eq!(second["scope"], demo::gateway_scope());
    assert_ne!(second["refresh_token"], tokens["refresh_token"]);
    assert!(second.get("id_token").is_some());
    refreshed(&harness, first, &[]).await;

    harness.clock.advance(Duration::from_secs(60 * DAY));
    let third = refreshed(&harness, second["refresh_token"].as_str().unwrap(), &[]).await;
    harness.clock.advance(Duration::from_secs(30 * DAY));
    let old = [("grant_type", "refresh_token"), ("refresh_token", first)];
    let body = harness
        .expect_error(harness.token(&old), 400, "invalid_grant", 700_082)
        .await;
    assert_eq!(body["suberror"], "bad_token");
    refreshed(&harness, third["refresh_token"].as_str().unwrap(), &[]).await;
}

#[tokio::test]
async fn refresh_token_serves_all_resources_of_its_client() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    let token = tokens["refresh_token"].as_str().unwrap();
    let graph = refreshed(&harness, token, &[("scope", "User.Read")]).await;
    assert_eq!(graph["scope"], "User.Read");
    assert!(graph.get("refresh_token").is_some() && graph.get("id_token").is_none());
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    for (parameters, error, number) in [
        (
            &[("scope", "mcp.access")] as &[_],
            "invalid_client",
            650_053,
        ),
        (
            &[("resource", "https://mcp.example.com/")],
            "invalid_target",
            9_010_010,
        ),
        (
            &[("resource", API_URL), ("scope", "User.Read")],
            "invalid_target",
            9_010_010,
        ),
        (
            &[
                ("client_id", gateway.as_str()),
                ("client_secret", demo::GATEWAY_SECRET),
            ],
            "invalid_grant",
            70_000,
        ),
        (
            &[("refresh_token", "1.made-up")],
            "invalid_grant",
            9_002_313,
        ),
        (&[("refresh_token", "")], "invalid_request", 900_144),
    ] {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.retain(|(name, _)| parameters.iter().all(|(other, _)| other != name));
        form.extend(parameters);
        harness
            .expect_error(harness.token(&form), 400, error, number)
            .await;
    }
}

#[tokio::test]
async fn request_for_itself_requires_client_id_as_resource() {
    let harness = Harness::start().await;
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    let sign_in = async |scope: &str| {
        let web = [
            ("client_id", gateway.as_str()),
            ("redirect_uri", GATEWAY_CALLBACK),
            ("scope", scope),
        ];
        let code = harness.code(&web).await;
        let secret = [
            ("code", code.as_str()),
            ("client_secret", demo::GATEWAY_SECRET),
        ];
        harness.redeem(&[&web[..2], &secret].concat()).await
    };
    let refresh = |tokens: &serde_json::Value| {
        let token = tokens["refresh_token"].as_str().unwrap().to_owned();
        let form = [
            ("client_id", gateway.as_str()),
            ("client_secret", demo::GATEWAY_SECRET),
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str()),
        ];
        harness.token(&form)
    };
    let by_uri = sign_in(&format!("offline_access {}", demo::gateway_scope())).await;
    harness
        .expect_error(refresh(&by_uri), 400, "invalid_request", 90_009)
        .await;
    let by_id = sign_in(&format!("offline_access {gateway}/.default")).await;
    assert_eq!(refresh(&by_id).send().await.unwrap().status(), 200);
}
