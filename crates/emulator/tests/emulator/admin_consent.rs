//! The administrator's consent: the endpoint, its response, and its effect.

use emulator::{Command, Requirement, demo};

use crate::harness::{BRIDGE_CALLBACK, Browser, Harness, http};

fn require(requirement: Requirement) -> Command {
    Command::Require {
        requirement,
        user: None,
        app: None,
    }
}

fn request(harness: &Harness, parameters: &[(&str, &str)]) -> String {
    let client_id = demo::BRIDGE_CLIENT_ID.to_string();
    let scope = format!("{}/.default", demo::gateway_app_id_uri());
    let mut all = vec![
        ("client_id", client_id.as_str()),
        ("scope", scope.as_str()),
        ("redirect_uri", BRIDGE_CALLBACK),
        ("state", "12345"),
    ];
    all.retain(|(name, _)| parameters.iter().all(|(other, _)| other != name));
    all.extend(parameters.iter().filter(|(_, value)| !value.is_empty()));
    url::Url::parse_with_params(&harness.url("/v2.0/adminconsent"), all)
        .unwrap()
        .into()
}

#[tokio::test]
async fn admin_consent_redirects_and_meets_requirement() {
    let harness = Harness::start().await;
    harness.apply(require(Requirement::AdminConsent)).await;
    harness.apply(require(Requirement::Consent)).await;
    let browser = Browser::new();
    let needed = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    needed.shows("Need admin approval");

    let admin = Browser::new();
    let page = admin.open(&request(&harness, &[])).await;
    page.shows("Postern bridge");
    page.shows("mcp.access");
    let response = admin.submit(&page, &[("action", "next")]).await;
    assert!(response.location().as_str().starts_with(BRIDGE_CALLBACK));
    assert_eq!(response.parameter("admin_consent"), "True");
    assert_eq!(response.parameter("tenant"), demo::TENANT_ID.to_string());
    assert_eq!(response.parameter("state"), "12345");
    assert!(response.parameter("scope").ends_with("/.default"));
    browser
        .open(&harness.authorize(&[]))
        .await
        .parameter("code");

    harness.apply(require(Requirement::AdminConsent)).await;
    let needed = browser.open(&harness.authorize(&[])).await;
    needed.shows("Need admin approval");
}

#[tokio::test]
async fn declined_admin_consent_redirects_with_error() {
    let harness = Harness::start().await;
    let admin = Browser::new();
    let page = admin.open(&request(&harness, &[])).await;
    let response = admin.submit(&page, &[("action", "back")]).await;
    assert_eq!(response.parameter("error"), "access_denied");
    assert_eq!(response.parameter("state"), "12345");
}

#[tokio::test]
async fn approval_page_links_to_admin_consent() {
    let harness = Harness::start().await;
    harness.apply(require(Requirement::AdminApproval)).await;
    let browser = Browser::new();
    let needed = browser.sign_in(&harness.authorize(&[]), demo::ADELE).await;
    let link = needed
        .between("id=\"adminConsent\" href=\"", "\"")
        .replace("&#38;", "&");
    let admin = Browser::new();
    let page = admin.open(&format!("{}{link}", harness.base)).await;
    let page = admin.submit(&page, &[("action", "next")]).await;
    page.shows("The application may be used now");
    browser
        .open(&harness.authorize(&[]))
        .await
        .parameter("code");
}

#[tokio::test]
async fn invalid_admin_consent_request_shows_error_page() {
    let harness = Harness::start().await;
    let admin = Browser::new();
    for (parameters, number) in [
        ([("client_id", "")], 900_144),
        ([("client_id", "x")], 700_038),
        ([("redirect_uri", "https://evil.example/")], 50_011),
        ([("scope", "api://nowhere/.default")], 500_011),
    ] {
        let page = admin.open(&request(&harness, &parameters)).await;
        page.shows_error(number);
    }
    let prepared = Browser::new().open(&request(&harness, &[])).await;
    let stolen = admin.submit(&prepared, &[("action", "next")]).await;
    stolen.shows_error(165_000);
    let elsewhere =
        request(&harness, &[]).replace(&demo::TENANT_ID.to_string(), "fabrikam.example");
    let response = http().get(elsewhere).send().await.unwrap();
    assert_eq!(response.status(), reqwest::StatusCode::BAD_REQUEST);
}
