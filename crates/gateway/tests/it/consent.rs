//! `/consent`: which forms are accepted, what the page shows, and which consent is stored.

use http::StatusCode;
use http::header::{ACCEPT, COOKIE, ORIGIN};
use serde_json::json;

use super::browser::Browser;
use super::client::Client;
use super::world::World;

#[tokio::test]
async fn t7_g4_consent_page_names_client_and_forbids_framing() {
    let world = World::start().await;
    let metadata = json!({
        "client_name": "Friendly <b>tool</b>\u{202e}", "client_uri": "https://tool.example/about",
        "redirect_uris": ["https://tool.example/cb"],
    });
    let (_, registered) = world.post_json("/register", &metadata).await;
    let id = registered["client_id"].as_str().unwrap().to_owned();
    let client = Client {
        id: id.clone(),
        redirect: "https://tool.example/cb".to_owned(),
        ..world.client().await
    };
    let page = Browser::new().open(&client.authorize_url(&[])).await;
    for part in [
        "Friendly &#60;b&#62;tool&#60;/b&#62;",
        "https://tool.example/about",
        ">tool.example<",
        &id,
        "Snippets",
        "<code>mcp</code>",
        "Contoso tools",
        "value=\"allow\"",
        "value=\"deny\"",
    ] {
        assert!(page.body.contains(part), "{part} is not in {}", page.body);
    }
    for part in ["<b>tool", "\u{202e}", "<script", "href", "src="] {
        assert!(!page.body.contains(part), "{part}");
    }
    let header = |name: &str| page.headers[name].to_str().unwrap();
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "same-origin");
    let policy = header("content-security-policy");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    let form = format!(
        "form-action 'self' {} https://tool.example",
        world.provider.origin
    );
    assert!(policy.ends_with(&form), "D26: {policy}");
}

#[tokio::test]
async fn t9_loopback_redirect_shows_warning() {
    let world = World::start().await;
    let client = world.client().await;
    let page = Browser::new().open(&client.authorize_url(&[])).await;
    assert!(page.body.contains("127.0.0.1:7777") && page.body.contains("stays on this computer"));
    let client = Client::register(&world, "https://tool.example/cb").await;
    let page = Browser::new().open(&client.authorize_url(&[])).await;
    assert!(!page.body.contains("this computer"));
    let client = Client::register(&world, "cursor://tool.example/cb").await;
    let page = Browser::new().open(&client.authorize_url(&[])).await;
    assert!(page.body.contains(">cursor://tool.example<") && !page.body.contains("stays on"));
}

#[tokio::test]
async fn d17_t11_denial_reaches_client_and_is_not_remembered() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let back = browser.submit(&page, "deny").await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);
    assert!(back.location().starts_with(&client.redirect));
    assert_eq!(back.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(back.parameter("iss").as_deref(), Some(&*world.origin));
    assert!(!browser.has_cookie("sign-in"));
    client.sign_in(&browser).await;
}

#[tokio::test]
async fn d23_t5_consent_form_is_bound_to_its_browser() {
    let world = World::start().await;
    let client = world.client().await;
    let (mine, other) = (Browser::new(), Browser::new());
    let page = mine.open(&client.authorize_url(&[])).await;
    for cookies in ["none", "of another page"] {
        if cookies == "of another page" {
            other.open(&client.authorize_url(&[])).await;
        }
        let anew = other.submit(&page, "allow").await;
        assert!(anew.is_consent(), "{cookies}: {anew:#?}");
        assert!(anew.body.contains("Your answer did not count"), "{cookies}");
        assert!(!other.has_cookie("sign-in"), "{cookies}");
    }
    let anew = other.submit(&page, "allow").await;
    let back = other.press(&anew, "allow").await;
    assert!(
        back.parameter("code").is_some(),
        "the page made anew is its own"
    );
    let back = mine.press(&page, "allow").await;
    assert!(
        back.parameter("code").is_some(),
        "and stays good where it belongs"
    );
}

#[tokio::test]
async fn t5_consent_form_is_single_use() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let reloaded = browser.open(page.url.as_str()).await;
    let first = browser.submit(&page, "allow").await.location();
    let second = browser.submit(&page, "allow").await.location();
    let [first, second] = [first, second].map(|to_entra| {
        let browser = browser.clone();
        async move { browser.get(&to_entra, "cross-site").await.location() }
    });
    let (first, second) = (first.await, second.await);
    let back = browser.get(&second, "cross-site").await;
    assert!(back.parameter("code").is_some());
    let redeemed = world.provider.redemptions();
    let again = browser.get(&first, "cross-site").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{again:#?}");
    assert_eq!(world.provider.redemptions(), redeemed, "Entra is not asked");
    let again = browser.submit(&page, "allow").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    let back = browser.press(&reloaded, "allow").await;
    assert!(back.parameter("code").is_some(), "another page");
    let late = browser
        .open(&client.authorize_url(&[("prompt", "consent")]))
        .await;
    world.advance(15 * 60);
    let answer = browser.submit(&late, "allow").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "too late");
}

/// Both callbacks of a transaction arrive at the same time.
#[tokio::test]
async fn t26_concurrent_callbacks_issue_one_code() {
    let world = World::start().await;
    let client = world.client().await;
    for _ in 0..20 {
        let browser = Browser::new();
        let page = browser.open(&client.authorize_url(&[])).await;
        let mut callbacks = Vec::new();
        for _ in 0..2 {
            let to_entra = browser.submit(&page, "allow").await.location();
            callbacks.push(browser.get(&to_entra, "cross-site").await.location());
        }
        let (one, two) = tokio::join!(
            browser.get(&callbacks[0], "cross-site"),
            browser.get(&callbacks[1], "cross-site")
        );
        let codes = [one, two].map(|page| page.headers.contains_key("location"));
        assert_eq!(codes.iter().filter(|has_code| **has_code).count(), 1);
    }
}

/// The content of a form or a cookie was validated when it was sealed, but the configuration may
/// change afterwards.
#[tokio::test]
async fn request_is_validated_again_at_consent_and_callback() {
    let mut world =
        World::start_with(|text| text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n").await;
    let client = world.client().await;
    let (id, redirect) = (client.id.clone(), client.redirect.clone());
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let to_entra = browser.submit(&page, "allow").await.location();
    let to_callback = browser.get(&to_entra, "cross-site").await.location();
    let fine = world.text().to_owned();
    for (change, error) in [
        (
            ["title = \"Snippets\"", "scopes = [\"another\"]"],
            "invalid_scope",
        ),
        (["servers.snippets]", "servers.renamed]"], "invalid_target"),
    ] {
        let [from, to] = change;
        world
            .restart_with(|text| {
                let text = text.replace(from, to);
                match error {
                    "invalid_target" => text.replace("\"snippets\"", "\"renamed\""),
                    _ => text,
                }
            })
            .await;
        let back = browser.submit(&page, "allow").await;
        assert_eq!(back.parameter("error").as_deref(), Some(error));
        // The response deletes the cookie, so this browser keeps a copy.
        let copy = browser.copied();
        let back = copy.get(&to_callback, "cross-site").await;
        assert_eq!(back.parameter("error").as_deref(), Some(error));
        assert!(!copy.has_cookie("sign-in"));
        world.restart_with(|_| fine.clone()).await;
    }
    world.remove_client(&id);
    let gone = browser.submit(&page, "allow").await;
    assert_eq!(gone.status, StatusCode::BAD_REQUEST);
    let gone = browser.get(&to_callback, "cross-site").await;
    assert_eq!(gone.status, StatusCode::BAD_REQUEST);
    assert!(!gone.body.contains(&redirect));
    assert!(!browser.has_cookie("sign-in"), "on every outcome");
}

/// Each sign-in has its own cookie, and together they stay short.
#[tokio::test]
async fn many_sign_ins_in_one_browser_all_finish() {
    let world = World::start().await;
    let browser = Browser::new();
    let mut under_way = Vec::new();
    for number in 0..12 {
        let client = world.client().await;
        let long = "x".repeat(if number == 3 { 4000 } else { 10 });
        let url = client.authorize_url(&[("state", &long)]);
        let page = browser.open(&url).await;
        under_way.push(browser.submit(&page, "allow").await.location());
        assert!(browser.cookies().len() < 7_000, "{number}");
    }
    for to_entra in &under_way {
        let back = browser.open(to_entra).await;
        assert!(back.parameter("code").is_some(), "{back:#?}");
    }
    assert!(!browser.has_cookie("sign-in"));
}

#[tokio::test]
async fn t6_form_of_other_site_is_rejected() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    for headers in [
        &[(ORIGIN.as_str(), "https://evil.example")][..],
        &[(ORIGIN.as_str(), "null")],
        &[("referer", "https://evil.example/")],
        &[
            (ORIGIN.as_str(), &*world.origin),
            ("sec-fetch-site", "cross-site"),
        ],
        &[
            (ORIGIN.as_str(), &*world.origin),
            ("sec-fetch-site", "same-site"),
        ],
        &[],
    ] {
        let form = [
            ("request", page.field("request")),
            ("answer", "allow".to_owned()),
        ];
        let mut request = world
            .http
            .post(world.url("/consent"))
            .form(&form)
            .header(COOKIE, browser.cookies());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.header(ACCEPT, "text/html").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{headers:?}");
        assert!(response.headers().get("set-cookie").is_none());
    }
    assert!(
        browser
            .press(&page, "allow")
            .await
            .parameter("code")
            .is_some(),
        "the form is still good"
    );
}

#[tokio::test]
async fn d22_invalid_form_value_is_not_shown() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    let page = browser.open(&client.authorize_url(&[])).await;
    let answer = browser.submit(&page, "<script>alert(1)</script>").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.body.contains("alert"));
    assert!(
        browser
            .press(&page, "allow")
            .await
            .parameter("code")
            .is_some()
    );
}

#[tokio::test]
async fn d2_returning_user_signs_in_without_consent_page() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    client.sign_in(&browser).await;
    let again = browser.open(&client.authorize_url(&[])).await;
    let (status, _) = client.redeem(&again.parameter("code").unwrap(), &[]).await;
    assert_eq!(status, StatusCode::OK);
    world.advance(364 * 24 * 3600);
    assert!(
        browser
            .open(&client.authorize_url(&[]))
            .await
            .parameter("code")
            .is_some()
    );
    world.advance(2 * 24 * 3600);
    assert!(
        browser.open(&client.authorize_url(&[])).await.is_consent(),
        "after a year"
    );
}

#[tokio::test]
async fn t10_web_page_cannot_use_remembered_consent() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    client.sign_in(&browser).await;
    assert!(
        browser
            .follow_link(&client.authorize_url(&[]))
            .await
            .is_consent()
    );
    assert!(
        browser
            .open(&client.authorize_url(&[("prompt", "consent")]))
            .await
            .is_consent()
    );
    assert!(
        Browser::new()
            .open(&client.authorize_url(&[]))
            .await
            .is_consent()
    );
    let forged = browser.clone_with_cookie("person", "v1.x.y.z");
    assert!(
        forged.open(&client.authorize_url(&[])).await.is_consent(),
        "T3"
    );
}

#[tokio::test]
async fn t4_request_beyond_consent_shows_consent_page() {
    let world = World::start_with(|text| {
        let text = text.replace("title = \"Snippets\"", "scopes = [\"read\", \"write\"]");
        text + "\n[servers.other]\nurl = \"{backend}/mcp\"\n"
    })
    .await;
    let metadata = json!({"redirect_uris": ["http://127.0.0.1/cb", "http://127.0.0.1/x/cb"]});
    let (_, registered) = world.post_json("/register", &metadata).await;
    let mut client = world.client().await;
    client.id = registered["client_id"].as_str().unwrap().to_owned();
    client.redirect = "http://127.0.0.1/cb".to_owned();
    let browser = Browser::new();
    let narrow = [("scope", "read")];
    let page = browser.open(&client.authorize_url(&narrow)).await;
    assert!(page.is_consent());
    browser.press(&page, "allow").await;
    assert!(
        !browser
            .open(&client.authorize_url(&narrow))
            .await
            .is_consent()
    );
    let other_port = [("scope", "read"), ("redirect_uri", "http://127.0.0.1:9/cb")];
    assert!(
        !browser
            .open(&client.authorize_url(&other_port))
            .await
            .is_consent()
    );
    let resource = format!("{}/other/mcp", world.origin);
    for wider in [
        &[("scope", "read write")][..],
        &[("scope", "write")],
        &[("scope", "")],
        &[("scope", "read"), ("redirect_uri", "http://127.0.0.1/x/cb")],
        &[("resource", &*resource)],
        &[
            ("scope", "read"),
            ("client_id", &world.client().await.id),
            ("redirect_uri", super::world::REDIRECT),
        ],
    ] {
        assert!(
            browser
                .open(&client.authorize_url(wider))
                .await
                .is_consent(),
            "{wider:?}"
        );
    }
    let page = browser
        .open(&client.authorize_url(&[("scope", "write")]))
        .await;
    browser.press(&page, "allow").await;
    assert!(
        !browser.open(&client.authorize_url(&[])).await.is_consent(),
        "both were allowed"
    );
}

#[tokio::test]
async fn t12_other_user_is_asked_for_consent() {
    let world = World::start().await;
    let client = world.client().await;
    let browser = Browser::new();
    client.sign_in(&browser).await;
    world.provider.sign_in_as("bob");
    let page = browser.open(&client.authorize_url(&[])).await;
    assert!(page.is_consent(), "{page:#?}");
    let back = browser.press(&page, "allow").await;
    let (_, answer) = client.redeem(&back.parameter("code").unwrap(), &[]).await;
    let (_, who) = world
        .get_as("/userinfo", answer["access_token"].as_str().unwrap())
        .await;
    assert_eq!(who["name"], "bob");
}
