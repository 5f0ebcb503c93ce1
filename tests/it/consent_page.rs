//! The gateway's consent page in a real browser: without scripts, in two tabs at once, and with its
//! form sent twice.

use emulator::demo;

use crate::harness::{Harness, browser::Browser, oauth::OAuthClient, sign_in_pages};

/// A registered client and its authorization request.
struct Guest {
    client: OAuthClient,
    id: String,
    page: String,
    gateway: String,
}

impl Guest {
    async fn register(harness: &Harness) -> Self {
        let gateway = harness.servers.gateway_url();
        let client = OAuthClient::new("127.0.0.1", "/callback").await;
        let id = client.register(&format!("{gateway}/register")).await;
        let resource = format!("{gateway}/snippets/mcp");
        let endpoint = format!("{gateway}/authorize");
        let page = client.authorize_url(&endpoint, &id, &[("resource", &resource)]);
        Self {
            client,
            id,
            page,
            gateway,
        }
    }

    /// Waits for the callback and redeems the code.
    async fn is_let_in(&mut self) {
        let came_back = self.client.callback().await;
        let code = self.client.code(&came_back);
        let endpoint = format!("{}/token", self.gateway);
        let redeemed = self.client.redeem(&endpoint, &self.id, &code, &[]).await;
        assert_eq!(redeemed.0, 200, "{}", redeemed.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_needs_no_scripts() {
    let (harness, browser) = tokio::join!(Harness::start(), Browser::open_without_scripts());
    let mut guest = Guest::register(&harness).await;
    browser
        .go_to("data:text/html,<noscript>none</noscript><p>some</p>")
        .await;
    assert!(browser.text().await.contains("none"), "scripts are on");
    browser.go_to(&guest.page).await;
    sign_in_pages::consent_at_gateway(&browser).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    guest.is_let_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_sign_in_concurrently() {
    let (harness, browser) = tokio::join!(Harness::start(), Browser::open());
    let (mut one, mut two) = (
        Guest::register(&harness).await,
        Guest::register(&harness).await,
    );
    assert_eq!(one.id, two.id, "the same metadata but for the port");
    browser.go_to(&one.page).await;
    let first = browser.tab().await;
    let second = browser.new_tab().await;
    browser.go_to(&two.page).await;
    sign_in_pages::consent_at_gateway(&browser).await;
    browser.find("button[data-account]").await;
    browser.switch_to(first).await;
    sign_in_pages::consent_at_gateway(&browser).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    one.is_let_in().await;
    browser.switch_to(second).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    two.is_let_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_sent_twice_issues_one_code() {
    let (harness, browser) = tokio::join!(Harness::start(), Browser::open());
    let mut guest = Guest::register(&harness).await;
    browser.go_to(&guest.page).await;
    // Each click sends the same form to a new tab.
    browser
        .run("document.querySelector('form').target = '_blank'")
        .await;
    let page = browser.tab().await;
    sign_in_pages::consent_at_gateway(&browser).await;
    sign_in_pages::consent_at_gateway(&browser).await;
    let mut tabs = browser.tabs(3).await;
    tabs.retain(|tab| *tab != page);
    let [one, other] = [0, 1].map(|number| tabs[number].clone());
    browser.switch_to(one.clone()).await;
    browser.find("button[data-account]").await;
    browser.switch_to(other).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    guest.is_let_in().await;
    browser.switch_to(one).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    browser.find("main h1").await;
    let text = browser.text().await;
    assert!(text.contains("This sign-in did not begin here"), "{text}");
}
