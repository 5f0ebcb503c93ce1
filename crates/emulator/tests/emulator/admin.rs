//! The admin API from outside: the JSON for programs, the page for users, and the access check.

use emulator::demo;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Browser, Harness, http};

fn command(harness: &Harness, command: &Value) -> RequestBuilder {
    http()
        .post(format!("{}/admin/commands", harness.base))
        .json(command)
}

async fn response(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn every_command_parses_from_json() {
    let harness = Harness::start_in(None).await;
    let kid = harness.admin.state().keys[1].kid.clone();
    for (sent, rules) in [
        (json!({ "do": "fail", "number": 50_076 }), 1),
        (
            json!({ "do": "fail", "number": 50_076, "endpoint": "token", "user": demo::ADELE,
                "app": "Postern bridge", "times": 3 }),
            2,
        ),
        (
            json!({ "do": "require", "requirement": "second-factor", "user": demo::GRADY }),
            3,
        ),
        (
            json!({ "do": "throttle", "endpoint": "devicecode", "times": 2, "retry_after": 5 }),
            4,
        ),
        (
            json!({ "do": "outage", "endpoint": "authorize", "times": "always" }),
            5,
        ),
        (json!({ "do": "remove", "rule": 1 }), 4),
        (json!({ "do": "revoke-sessions", "user": demo::ADELE }), 4),
        (json!({ "do": "challenge-tokens", "user": demo::ADELE }), 4),
        (json!({ "do": "refresh-reuse", "reuse": "detected" }), 4),
        (json!({ "do": "add-key" }), 4),
        (json!({ "do": "use-key", "kid": kid }), 4),
        (json!({ "do": "drop-key", "kid": kid }), 4),
        (json!({ "do": "replace-keys" }), 4),
        (json!({ "do": "advance", "seconds": 60 }), 4),
    ] {
        let (status, state) = response(command(&harness, &sent)).await;
        assert_eq!(status, StatusCode::OK, "{sent}: {state}");
        assert_eq!(state["rules"].as_array().unwrap().len(), rules, "{sent}");
    }
    let state = http().get(format!("{}/admin/state", harness.base));
    let (_, state) = response(state).await;
    assert_eq!(
        state["rules"],
        json!([
            { "rule": 2, "do": "fail", "number": 50_076, "endpoint": "token",
              "user": demo::ADELE, "app": "Postern bridge", "times": 3 },
            { "rule": 3, "do": "require", "requirement": "second-factor",
              "user": demo::GRADY, "app": null },
            { "rule": 4, "do": "throttle", "endpoint": "devicecode", "times": 2,
              "retry_after": 5 },
            { "rule": 5, "do": "outage", "endpoint": "authorize", "times": "always" },
        ])
    );
    assert_eq!(state["refresh_reuse"], "detected");
    assert_eq!(state["ahead_seconds"], 60);
    let (_, state) = response(command(&harness, &json!({ "do": "clear" }))).await;
    assert_eq!(state["rules"], json!([]));
}

/// Executes the commands in `docs/emulator.md` literally.
#[tokio::test]
async fn documented_commands_are_accepted() {
    let harness = Harness::start_in(None).await;
    let text = include_str!("../../../../docs/emulator.md");
    let commands: Vec<Value> = text
        .split("switch '")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split_once('\'').unwrap().0).unwrap())
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    for sent in commands {
        let (status, body) = response(command(&harness, &sent)).await;
        assert_eq!(status, StatusCode::OK, "{sent}: {body}");
    }
    for requirement in emulator::Requirement::ALL {
        let name = serde_json::to_value(requirement).unwrap();
        let row = format!("| `{}` |", name.as_str().unwrap());
        assert!(text.contains(&row), "{row} is missing");
    }
}

#[tokio::test]
async fn invalid_command_changes_nothing() {
    let harness = Harness::start().await;
    for (sent, status, part) in [
        (
            json!({ "do": "fail", "number": 1 }),
            400,
            "hint: use one of: 28000",
        ),
        (json!({ "do": "fail" }), 422, "number"),
        (json!({ "do": "fly" }), 422, "unknown variant `fly`"),
        (
            json!({ "do": "fail", "number": 50_076, "tenant": "x" }),
            422,
            "unknown field `tenant`",
        ),
        (
            json!({ "do": "fail", "number": 50_076, "times": 0 }),
            422,
            "times",
        ),
        (
            json!({ "do": "revoke-sessions", "user": "eve" }),
            400,
            "\"eve\"",
        ),
        (json!({ "do": "drop-key", "kid": "x" }), 409, "\"x\""),
    ] {
        let (got, body) = response(command(&harness, &sent)).await;
        let error = body["error"].as_str().unwrap();
        assert_eq!(got.as_u16(), status, "{sent}: {error}");
        assert!(error.contains(part), "{sent}: {error}");
    }
    assert!(harness.admin.state().rules.is_empty());
}

#[tokio::test]
async fn admin_api_rejects_other_sites() {
    let harness = Harness::start().await;
    let clear = json!({ "do": "clear" });
    let url = format!("{}/admin/commands", harness.base);
    let own = harness.base.clone();
    for (name, value, expected) in [
        ("origin", own.as_str(), StatusCode::OK),
        ("origin", "http://evil.example", StatusCode::FORBIDDEN),
        ("origin", "null", StatusCode::FORBIDDEN),
        ("origin", "http://127.0.0.1:1", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "cross-site", StatusCode::FORBIDDEN),
        ("sec-fetch-site", "same-site", StatusCode::FORBIDDEN),
        ("host", "evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let response = command(&harness, &clear).header(name, value).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), expected, "{name}: {value}");
        let headers = response.headers();
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let simple = http()
        .post(&url)
        .header("content-type", "text/plain")
        .body(clear.to_string());
    let simple = simple.send().await.unwrap();
    assert_eq!(simple.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let form = http()
        .post(format!("{}/admin", harness.base))
        .header("origin", "http://evil.example")
        .form(&[("do", "replace-keys")]);
    assert_eq!(form.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let preflight = http()
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn admin_page_executes_commands() {
    let harness = Harness::start().await;
    let page_url = format!("{}/admin", harness.base);
    let developer = Browser::new();
    let page = developer.open(&page_url).await;
    page.shows("Nothing. The emulator behaves as Entra normally does.");
    for shown in [demo::ADELE, "Postern gateway", "AADSTS number", "90 days"] {
        page.shows(shown);
    }
    assert!(!page.body.contains("<script"));

    let fail = [
        ("do", "fail"),
        ("number", "53003"),
        ("endpoint", "token"),
        ("user", demo::ADELE),
        ("app", ""),
        ("times", "always"),
    ];
    let response = developer.post(&page_url, &fail).await;
    assert_eq!(response.status, StatusCode::SEE_OTHER);
    assert_eq!(response.headers["location"], "/admin");
    let page = developer.open(&page_url).await;
    page.shows("AADSTS53003");
    page.shows("at token, adele@contoso.example");
    page.shows("always");
    let rule = page.between("name=\"rule\" value=\"", "\"").to_owned();
    let remove = [("do", "remove"), ("rule", rule.as_str())];
    developer.post(&page_url, &remove).await;
    assert!(harness.admin.state().rules.is_empty());

    let wrong = [("do", "fail"), ("number", "1")];
    let page = developer.post(&page_url, &wrong).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    page.shows("AADSTS1 is not in the table");
    let hostile = [("do", "revoke-sessions"), ("user", "<b>eve</b>")];
    let page = developer.post(&page_url, &hostile).await;
    assert!(!page.body.contains("<b>eve"), "{}", page.body);
}

#[tokio::test]
async fn request_log_contains_no_secrets() {
    let harness = Harness::start().await;
    let code = harness.code(&[]).await;
    let tokens = harness.redeem(&[("code", &code)]).await;
    harness
        .expect_error(
            harness.token(&[("code", &code)]),
            400,
            "invalid_grant",
            54_005,
        )
        .await;
    let state = harness.admin.state();
    let last = &state.requests[0];
    assert_eq!((last.method.as_str(), last.status), ("POST", 400));
    assert!(last.path.ends_with("/oauth2/v2.0/token"), "{}", last.path);
    assert_eq!(last.aadsts, Some(54_005));

    let page = Browser::new()
        .open(&format!("{}/admin", harness.base))
        .await;
    page.shows("AADSTS54005");
    let json = serde_json::to_string(&state).unwrap();
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    for secret in [code.as_str(), refresh_token, demo::GATEWAY_SECRET] {
        assert!(!json.contains(secret) && !page.body.contains(secret));
    }
    assert!(
        state
            .requests
            .iter()
            .all(|seen| !seen.path.contains("admin"))
    );
    for _ in 0..60 {
        http().get(&harness.base).send().await.unwrap();
    }
    assert_eq!(harness.admin.state().requests.len(), 50);
}
