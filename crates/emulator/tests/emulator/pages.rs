//! The sign-in pages in a browser.

use std::time::Duration;

use emulator::demo::{ADELE, GRADY};
use reqwest::header::SET_COOKIE;

use crate::harness::{BRIDGE_CALLBACK, Browser, Harness, http};

#[tokio::test]
async fn sign_in_asks_for_name_and_password_once() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let page = browser.open(&harness.authorize(&[])).await;
    page.shows("Postern bridge");
    let page = browser
        .submit(&page, &[("loginfmt", "Adele@CONTOSO.example ")])
        .await;
    page.shows("Enter password");
    page.shows(ADELE);
    let response = browser.password(&page).await;
    assert!(response.location().as_str().starts_with(BRIDGE_CALLBACK));
    assert_eq!(response.parameter("state"), "xyz");
    assert!(response.parameter("code").len() > 60);
    assert!(!response.parameter("session_state").is_empty());

    let again = browser.open(&harness.authorize(&[])).await;
    assert_ne!(again.parameter("code"), response.parameter("code"));
    assert_eq!(
        again.parameter("session_state"),
        response.parameter("session_state")
    );
}

#[tokio::test]
async fn invalid_input_shows_message_and_same_page() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let page = browser.open(&harness.authorize(&[])).await;
    let page = browser
        .submit(&page, &[("loginfmt", ""), ("action", "next")])
        .await;
    page.shows("Enter a user name.");
    let page = browser
        .submit(&page, &[("loginfmt", "unknown@contoso.example")])
        .await;
    page.shows("We couldn’t find an account");
    assert_eq!(page.value_of("loginfmt"), "unknown@contoso.example");
    let page = browser.submit(&page, &[("account", ADELE)]).await;
    let page = browser
        .submit(&page, &[("passwd", ""), ("action", "next")])
        .await;
    page.shows("Please enter your password.");
    let page = browser.submit(&page, &[("action", "back")]).await;
    page.shows("name=\"loginfmt\"");
}

#[tokio::test]
async fn account_picker_lists_accounts_of_browser() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    browser
        .sign_in(&harness.authorize(&[]), ADELE)
        .await
        .parameter("code");

    let select = harness.authorize(&[("prompt", "select_account")]);
    let page = browser.open(&select).await;
    page.shows("Pick an account");
    page.shows(&format!("data-account=\"{ADELE}\""));
    assert!(!page.body.contains(GRADY));
    let page = browser.submit(&page, &[("action", "other")]).await;
    let page = browser.submit(&page, &[("loginfmt", GRADY)]).await;
    browser.password(&page).await.parameter("code");

    let page = browser.open(&harness.authorize(&[])).await;
    page.shows("Pick an account");
    page.shows(GRADY);
    browser
        .submit(&page, &[("account", ADELE)])
        .await
        .parameter("code");
    let silent = browser
        .open(&harness.authorize(&[("prompt", "none")]))
        .await;
    assert_eq!(silent.parameter("error"), "interaction_required");
    let hinted = [("prompt", "none"), ("login_hint", GRADY)];
    browser
        .open(&harness.authorize(&hinted))
        .await
        .parameter("code");
}

#[tokio::test]
async fn prompt_and_login_hint_select_first_page() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let hinted = harness.authorize(&[("login_hint", ADELE)]);
    let page = browser.open(&hinted).await;
    page.shows("Enter password");
    browser.password(&page).await.parameter("code");
    browser.open(&hinted).await.parameter("code");

    let other = harness.authorize(&[("login_hint", GRADY)]);
    browser.open(&other).await.shows("Enter password");
    let stranger = harness.authorize(&[("login_hint", "eve@fabrikam.example")]);
    browser
        .open(&stranger)
        .await
        .shows("value=\"eve@fabrikam.example\"");
    let again = harness.authorize(&[("login_hint", ADELE), ("prompt", "login")]);
    browser.open(&again).await.shows("Enter password");
    let page = browser
        .open(&harness.authorize(&[("prompt", "login")]))
        .await;
    page.shows("Pick an account");
    browser
        .submit(&page, &[("account", ADELE)])
        .await
        .shows("Enter password");
    browser
        .open(&harness.authorize(&[("prompt", "none")]))
        .await
        .parameter("code");
}

#[tokio::test]
async fn declined_consent_redirects_with_error() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let consent = harness.authorize(&[("prompt", "consent")]);
    let page = browser.sign_in(&consent, ADELE).await;
    page.shows("Permissions requested");
    page.shows("mcp.access");
    page.shows("Maintain access to data you have given it access to");
    let no = browser.submit(&page, &[("action", "back")]).await;
    assert_eq!(no.parameter("error"), "access_denied");
    let page = browser.open(&consent).await;
    browser
        .submit(&page, &[("action", "next")])
        .await
        .parameter("code");
}

#[tokio::test]
async fn cancelled_sign_in_redirects_with_error() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let page = browser.open(&harness.authorize(&[])).await;
    let response = browser.submit(&page, &[("action", "back")]).await;
    assert_eq!(response.parameter("error"), "access_denied");
    assert_eq!(response.parameter("error_subcode"), "cancel");
    assert_eq!(response.parameter("state"), "xyz");
    assert!(
        response
            .parameter("error_description")
            .starts_with("AADSTS65004")
    );
}

#[tokio::test]
async fn form_of_other_browser_is_rejected() {
    let harness = Harness::start().await;
    let (victim, attacker) = (Browser::new(), Browser::new());
    let prepared = attacker.open(&harness.authorize(&[])).await;
    let name = [("loginfmt", ADELE)];
    victim.submit(&prepared, &name).await.shows_error(165_000);
    victim.open(&harness.authorize(&[])).await.shows("Sign in");
    victim.submit(&prepared, &name).await.shows_error(165_000);
    let forged = [("flow", "AAAA"), ("loginfmt", ADELE)];
    victim
        .post(&harness.url("/login"), &forged)
        .await
        .shows_error(165_000);
    attacker
        .submit(&prepared, &name)
        .await
        .shows("Enter password");
}

#[tokio::test]
async fn sign_in_page_after_one_hour_shows_50089() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    let page = browser.open(&harness.authorize(&[])).await;
    harness.clock.advance(Duration::from_secs(60 * 60 + 1));
    browser
        .submit(&page, &[("loginfmt", ADELE)])
        .await
        .shows_error(50_089);
}

#[tokio::test]
async fn session_without_stay_signed_in_ends_after_one_day() {
    let harness = Harness::start().await;
    let day = Duration::from_secs(24 * 60 * 60);
    for (stay, lasting, next_day) in [("next", true, "code"), ("back", false, "error")] {
        let browser = Browser::new();
        let page = browser
            .open(&harness.authorize(&[("login_hint", ADELE)]))
            .await;
        let page = browser.submit(&page, &[("passwd", "any")]).await;
        let response = browser.submit(&page, &[("action", stay)]).await;
        let accounts = response
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|cookie| cookie.to_str().unwrap())
            .find(|cookie| cookie.starts_with("entra-accounts-"))
            .unwrap();
        assert_eq!(accounts.contains("Max-Age=7776000"), lasting, "{accounts}");
        assert!(accounts.contains("HttpOnly; SameSite=Lax"), "{accounts}");
        harness.clock.advance(day);
        let silent = browser
            .open(&harness.authorize(&[("prompt", "none")]))
            .await;
        silent.parameter(next_day);
    }
}

#[tokio::test]
async fn logout_redirects_to_registered_uris_only() {
    let harness = Harness::start().await;
    let browser = Browser::new();
    browser
        .sign_in(&harness.authorize(&[]), ADELE)
        .await
        .parameter("code");
    let logout = harness.url("/oauth2/v2.0/logout");
    let with = |uri: &str| format!("{logout}?post_logout_redirect_uri={uri}&state=bye");
    let back = browser.open(&with("http://localhost:5/")).await;
    assert_eq!(back.location().as_str(), "http://localhost:5/?state=bye");
    let page = browser.open(&harness.authorize(&[])).await;
    page.shows("Signed out");
    browser
        .submit(&page, &[("account", ADELE)])
        .await
        .shows("Enter password");
    browser
        .open(&with("https://evil.example/"))
        .await
        .shows("You signed out");
    browser.open(&logout).await.shows("You signed out");
}

#[tokio::test]
async fn response_modes_fragment_and_form_post_work() {
    let harness = Harness::start().await;
    let response = Browser::new()
        .sign_in(&harness.authorize(&[("response_mode", "fragment")]), ADELE)
        .await;
    let location = response.location();
    assert!(location.query().is_none());
    assert!(location.fragment().unwrap().starts_with("code=1."));

    let post = harness.authorize(&[("response_mode", "form_post"), ("state", "\"><b>")]);
    let page = Browser::new().sign_in(&post, ADELE).await;
    assert_eq!(page.between("action=\"", "\""), BRIDGE_CALLBACK);
    assert!(page.value_of("code").starts_with("1."));
    assert!(!page.body.contains("\"><b>"), "{}", page.body);
    let refused = [("response_mode", "form_post"), ("prompt", "none")];
    let page = Browser::new().open(&harness.authorize(&refused)).await;
    assert_eq!(page.value_of("error"), "login_required");
}

#[tokio::test]
async fn authorization_request_by_post_works() {
    let harness = Harness::start().await;
    let url = harness.authorize(&[]);
    let (endpoint, query) = url.split_once('?').unwrap();
    let request = http()
        .post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(query.to_owned());
    let body = request.send().await.unwrap().text().await.unwrap();
    assert!(body.contains("name=\"loginfmt\""), "{body}");
}

#[tokio::test]
async fn pages_have_security_headers() {
    let harness = Harness::start().await;
    let page = Browser::new().open(&harness.authorize(&[])).await;
    let header = |name: &str| page.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-frame-options"), "DENY");
    assert_eq!(header("cache-control"), "no-store, no-cache");
    assert!(
        header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-")
    );
    assert!(!page.body.contains("<script"));
}
