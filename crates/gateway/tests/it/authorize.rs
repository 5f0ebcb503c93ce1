//! `/authorize`: which errors are a page, which ones the client gets, and the parameters of the
//! response.

use http::StatusCode;

use super::browser::Browser;
use super::client::{Client, STATE};
use super::world::World;

#[tokio::test]
async fn client_signs_in_and_reaches_server() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    assert!(page.is_consent(), "{page:#?}");
    let back = browser.press(&page, "allow").await;
    assert!(
        back.location()
            .starts_with("http://127.0.0.1:7777/cb?code=")
    );
    assert_eq!(back.parameter("state").as_deref(), Some(STATE));
    assert_eq!(back.parameter("iss").as_deref(), Some(&*world.origin));
    let (status, tokens) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert_eq!(tokens["scope"], "mcp");
    let token = tokens["access_token"].as_str().unwrap();
    for path in ["/mcp", "/snippets/mcp"] {
        let answer = world.mcp(path, token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.text().await.unwrap(), super::world::MESSAGE);
    }
    assert_eq!(
        world.backend.last().headers["x-functions-key"],
        super::world::FUNCTIONS_KEY
    );
}

#[tokio::test]
async fn d4_t13_unknown_client_or_redirect_uri_is_not_redirected() {
    let world = World::start().await;
    let client = world.client().await;
    for changes in [
        &[("client_id", "nobody")][..],
        &[("client_id", "")],
        &[("redirect_uri", "https://evil.example/cb")],
        &[("redirect_uri", "http://127.0.0.1:7777/cb/")],
        &[("redirect_uri", "http://127.0.0.1.evil.example:7777/cb")],
        &[("redirect_uri", "")],
    ] {
        let page = Browser::new().open(&client.authorize_url(changes)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{changes:?}");
        assert!(page.headers.get("location").is_none(), "{changes:?}");
        assert!(
            page.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert!(!page.body.contains("evil"), "{changes:?}");
    }
}

#[tokio::test]
async fn g3_program_gets_errors_as_json() {
    let world = World::start().await;
    let (status, body) = world.get_json("/authorize?client_id=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"], "invalid_client");
    let (status, body) = world.get_json("/authorize").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["error"], "invalid_request");
}

#[tokio::test]
async fn d6_d18_t16_t20_error_redirect_has_state_and_issuer() {
    let world = World::start().await;
    let client = world.client().await;
    let short = "x".repeat(42);
    for (changes, error) in [
        (&[("code_challenge", "")][..], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "s256")], "invalid_request"),
        (&[("code_challenge", &short)], "invalid_request"),
        (&[("response_type", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("prompt", "none")], "interaction_required"),
        (&[("request", "x")], "request_not_supported"),
        (
            &[("request_uri", "https://evil.example/x")],
            "request_uri_not_supported",
        ),
        (&[("scope", "mcp admin")], "invalid_scope"),
        (
            &[("resource", "https://evil.example/mcp")],
            "invalid_target",
        ),
        (
            &[("resource", &format!("{}/other/mcp", world.origin))],
            "invalid_target",
        ),
    ] {
        let page = Browser::new().open(&client.authorize_url(changes)).await;
        assert!(
            page.location().starts_with("http://127.0.0.1:7777/cb?"),
            "{changes:?}"
        );
        assert_eq!(
            page.parameter("error").as_deref(),
            Some(error),
            "{changes:?}"
        );
        assert_eq!(
            page.parameter("state").as_deref(),
            Some(STATE),
            "{changes:?}"
        );
        assert_eq!(
            page.parameter("iss").as_deref(),
            Some(&*world.origin),
            "{changes:?}"
        );
        assert_eq!(page.parameter("code"), None);
    }
}

#[tokio::test]
async fn error_does_not_redirect_to_website_without_consent() {
    let world = World::start().await;
    let client = Client::register(&world, "https://phish.example/cb").await;
    let browser = Browser::new();
    let without_challenge = client.authorize_url(&[("code_challenge", "")]);
    let page = browser.open(&without_challenge).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.headers.get("location").is_none());
    let link = "<a href=\"https://phish.example/cb?error=invalid_request&";
    assert!(page.body.contains(link), "{}", page.body);
    assert!(page.body.contains(">phish.example</a>"));
    client.sign_in(&browser).await;
    let page = browser.open(&without_challenge).await;
    assert_eq!(page.parameter("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn error_does_not_start_application_without_consent() {
    let world = World::start().await;
    let client = Client::register(&world, "cursor://evil.example/cb").await;
    let browser = Browser::new();
    let without_challenge = client.authorize_url(&[("code_challenge", "")]);
    let page = browser.open(&without_challenge).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.headers.get("location").is_none());
    assert!(page.body.contains(">cursor://evil.example</a>"));
    client.sign_in(&browser).await;
    let page = browser.open(&without_challenge).await;
    assert_eq!(page.parameter("error").as_deref(), Some("invalid_request"));
}

/// A redirect URI at the gateway could begin the sign-in of another client, whose code would go to a
/// port of the attacker's choice.
#[tokio::test]
async fn redirect_uri_at_gateway_origin_is_rejected() {
    let world = World::start().await;
    let port = world.origin.rsplit(':').next().unwrap();
    for own in [
        format!("http://127.0.0.1:{port}/authorize"),
        format!("http://localhost:{port}/authorize"),
    ] {
        let metadata = serde_json::json!({ "redirect_uris": [own] });
        let (status, refused) = world.post_json("/register", &metadata).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(refused["error"], "invalid_redirect_uri", "{own}");
    }
    // A loopback redirect may have any port but this one.
    let mut client = Client::register(&world, "http://127.0.0.1/authorize").await;
    client.redirect = format!("http://127.0.0.1:{port}/authorize");
    let page = Browser::new().open(&client.authorize_url(&[])).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(!page.is_consent());
}

/// The gateway's own links and redirects lead where a client wants.
#[tokio::test]
async fn own_pages_do_not_use_remembered_consent() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    client.sign_in(&browser).await;
    let url = client.authorize_url(&[]);
    let page = browser.open(&url).await;
    assert!(page.parameter("code").is_some(), "typed by hand");
    for site in ["same-origin", "same-site", "cross-site"] {
        let mut page = browser.get(&url, site).await;
        while page.status.is_redirection() && !page.location().starts_with(&client.redirect) {
            page = browser.get(&page.location(), site).await;
        }
        assert!(page.is_consent(), "{site}");
    }
}

#[tokio::test]
async fn t17_duplicate_parameter_is_rejected() {
    let world = World::start().await;
    let client = world.client().await;
    for name in [
        "redirect_uri",
        "state",
        "scope",
        "resource",
        "code_challenge",
    ] {
        let url = format!("{}&{name}=a&{name}=b", client.authorize_url(&[(name, "")]));
        let page = Browser::new().open(&url).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name}");
        assert!(page.headers.get("location").is_none(), "{name}");
    }
}

#[tokio::test]
async fn d8_d21_t17_state_is_returned_unchanged() {
    let world = World::start().await;
    let client = world.client().await;
    let long = "ä".repeat(2048);
    for state in [
        "a&code=evil&error=x",
        "a+b c%20d/?#[]@!$'()*,;=",
        "\"><script>alert(1)</script>\r\nSet-Cookie: x=y",
        &format!("ClientInfo-{}", client.id),
        "EntraToken-x",
        &long,
    ] {
        let browser = Browser::new();
        let page = browser
            .open(&client.authorize_url(&[("state", state)]))
            .await;
        let back = browser.press(&page, "allow").await;
        assert_eq!(back.parameter("state").as_deref(), Some(state));
        assert_eq!(back.parameter("error"), None);
        let (status, _) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
        assert_eq!(status, StatusCode::OK, "{state}");
    }
    let page = Browser::new()
        .open(&client.authorize_url(&[("state", &"x".repeat(4097))]))
        .await;
    assert_eq!(page.parameter("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn d19_redirect_uri_keeps_its_query() {
    let world = World::start().await;
    let client = Client::register(&world, "http://127.0.0.1/cb?tenant=1").await;
    let back = client.approve(&Browser::new()).await;
    assert!(
        back.location()
            .starts_with("http://127.0.0.1/cb?tenant=1&code=")
    );
    let (status, _) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn d24_loopback_redirect_uri_accepts_any_port() {
    let world = World::start().await;
    let mut client = Client::register(&world, "http://127.0.0.1/cb").await;
    for port in [1024, 54_321] {
        client.redirect = format!("http://127.0.0.1:{port}/cb");
        let back = client.approve(&Browser::new()).await;
        assert!(
            back.location().starts_with(&client.redirect),
            "{}",
            back.location()
        );
        let code = back.parameter("code").unwrap();
        let elsewhere = [("redirect_uri", "http://127.0.0.1/cb")];
        let (status, _) = client.redeem(&code, &elsewhere).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "T27: the code is bound to the port too"
        );
    }
}

#[tokio::test]
async fn application_with_private_scheme_signs_in() {
    let world = World::start().await;
    let client = Client::register(&world, "cursor://anysphere.cursor-retrieval/cb").await;
    let back = client.approve(&Browser::new()).await;
    assert!(
        back.location()
            .starts_with("cursor://anysphere.cursor-retrieval/cb?code=")
    );
}

#[tokio::test]
async fn t45_foreign_host_is_rejected_and_changes_no_metadata() {
    let world = World::start().await;
    let well_known = "/.well-known/oauth-authorization-server";
    for path in [well_known, "/authorize", "/consent", "/mcp", "/token"] {
        let request = world
            .http
            .get(world.url(path))
            .header("host", "evil.example");
        assert_eq!(
            request.send().await.unwrap().status(),
            StatusCode::MISDIRECTED_REQUEST,
            "{path}"
        );
    }
    let request = world
        .http
        .get(world.url(well_known))
        .header("x-forwarded-host", "evil.example");
    let metadata = request
        .header("forwarded", "host=evil.example")
        .send()
        .await
        .unwrap();
    assert!(!metadata.text().await.unwrap().contains("evil"));
    let healthy = world
        .http
        .get(world.url("/healthz"))
        .header("host", "10.0.0.7")
        .send()
        .await;
    assert_eq!(healthy.unwrap().status(), StatusCode::OK);
}
