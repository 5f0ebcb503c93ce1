//! The authorization endpoint: valid requests, and errors on a page or by redirect.

use emulator::demo;

use crate::harness::{
    API_URL, BRIDGE_CALLBACK, Browser, GATEWAY_CALLBACK, Harness, SPA_CALLBACK, SPA_ID,
};

#[tokio::test]
async fn invalid_client_or_redirect_uri_shows_error_page() {
    let harness = Harness::start().await;
    for (parameters, code) in [
        ([("client_id", "")], 900_144),
        ([("client_id", "bridge")], 700_038),
        (
            [("client_id", "00000000-0000-0000-0000-000000000000")],
            700_038,
        ),
        (
            [("client_id", "11111111-1111-4111-8111-111111111111")],
            700_016,
        ),
        ([("redirect_uri", "")], 900_144),
        ([("redirect_uri", "https://evil.example/")], 50_011),
        (
            [("redirect_uri", "http://localhost:40123/callback")],
            50_011,
        ),
        ([("redirect_uri", "http://127.0.0.1:40123/")], 50_011),
        ([("redirect_uri", "http://[::1]:40123/")], 50_011),
    ] {
        let page = Browser::new().open(&harness.authorize(&parameters)).await;
        page.shows_error(code);
    }
    let twice = format!("{}&client_id=x", harness.authorize(&[]));
    Browser::new().open(&twice).await.shows_error(9_000_411);
    let common = harness
        .authorize(&[])
        .replace(&demo::TENANT_ID.to_string(), "common");
    Browser::new().open(&common).await.shows_error(50_194);
}

#[tokio::test]
async fn error_page_escapes_redirect_uri() {
    let harness = Harness::start().await;
    let page = Browser::new()
        .open(&harness.authorize(&[("redirect_uri", "https://x/\"><script>alert(1)</script>")]))
        .await;
    page.shows_error(50_011);
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
}

#[tokio::test]
async fn other_invalid_parameters_redirect_to_client() {
    let harness = Harness::start().await;
    let other_resource = format!("User.Read {}", demo::gateway_scope());
    for (parameters, error, code) in [
        (&[("response_type", "")] as &[_], "invalid_request", 900_144),
        (
            &[("response_type", "token")],
            "unsupported_response_type",
            700_051,
        ),
        (
            &[("response_type", "id_token")],
            "unsupported_response_type",
            700_054,
        ),
        (
            &[("response_type", "id_token code")],
            "unsupported_response_type",
            700_054,
        ),
        (
            &[("response_type", "magic")],
            "unsupported_response_type",
            70_005,
        ),
        (&[("response_mode", "pigeon")], "invalid_request", 70_007),
        (&[("prompt", "create")], "invalid_request", 90_023),
        (&[("prompt", "none")], "login_required", 50_058),
        (&[("scope", "")], "invalid_request", 900_144),
        (&[("scope", "openid mcp.read")], "invalid_client", 650_053),
        (&[("scope", "api://nowhere/x")], "invalid_resource", 500_011),
        (
            &[("scope", "https://mcp.example.com/")],
            "invalid_scope",
            70_011,
        ),
        (
            &[("resource", "https://mcp.example.com/")],
            "invalid_target",
            9_010_010,
        ),
        (
            &[("resource", "https://elsewhere.example")],
            "invalid_target",
            9_010_010,
        ),
        (
            &[("resource", API_URL), ("scope", &other_resource)],
            "invalid_target",
            9_010_010,
        ),
        (
            &[("resource", API_URL), ("scope", "User.Read")],
            "invalid_target",
            9_010_010,
        ),
        (&[("code_challenge", "short")], "invalid_request", 501_491),
        (&[("code_challenge", "")], "invalid_request", 501_491),
        (
            &[("code_challenge_method", "S512")],
            "invalid_request",
            50_149,
        ),
    ] {
        let response = Browser::new().open(&harness.authorize(parameters)).await;
        let location = response.location();
        assert!(location.as_str().starts_with(BRIDGE_CALLBACK), "{location}");
        assert_eq!(response.parameter("error"), error, "{parameters:?}");
        assert_eq!(response.parameter("state"), "xyz");
        let text = response.parameter("error_description");
        assert!(
            text.starts_with(&format!("AADSTS{code}: ")),
            "{parameters:?}: {text}"
        );
        assert!(text.contains("Correlation ID: "), "{text}");
    }
}

#[tokio::test]
async fn exactly_matching_resource_is_accepted() {
    let harness = Harness::start().await;
    let scope = format!("{API_URL}/{}", demo::GATEWAY_SCOPE);
    let url = harness.authorize(&[("resource", API_URL), ("scope", &scope)]);
    Browser::new().open(&url).await.shows("Sign in");
}

#[tokio::test]
async fn single_page_app_requires_pkce() {
    let harness = Harness::start().await;
    let spa = SPA_ID.to_string();
    let url = harness.authorize(&[
        ("client_id", &spa),
        ("redirect_uri", SPA_CALLBACK),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ]);
    let response = Browser::new().open(&url).await;
    assert!(
        response
            .parameter("error_description")
            .starts_with("AADSTS9002325")
    );
}

#[tokio::test]
async fn web_app_redirect_ignores_localhost_port() {
    let harness = Harness::start().await;
    let gateway = demo::GATEWAY_CLIENT_ID.to_string();
    for (redirect_uri, shown) in [
        (GATEWAY_CALLBACK, "Sign in"),
        ("http://localhost:9999/oauth-callback", "Sign in"),
        ("http://localhost:8080/OAuth-Callback", "AADSTS50011"),
        ("http://127.0.0.1:8080/oauth-callback", "AADSTS50011"),
    ] {
        let parameters = [
            ("client_id", gateway.as_str()),
            ("redirect_uri", redirect_uri),
        ];
        Browser::new()
            .open(&harness.authorize(&parameters))
            .await
            .shows(shown);
    }
}
