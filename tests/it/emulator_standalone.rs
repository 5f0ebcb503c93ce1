//! The emulator's pages in a real browser.

use emulator::demo;

use crate::harness::{Harness, browser::Browser, claims, oauth::OAuthClient, sign_in_pages};

#[tokio::test(flavor = "multi_thread")]
async fn user_signs_in_to_desktop_client() {
    let harness = Harness::start().await;
    let (browser, mut client) = tokio::join!(Browser::open(), OAuthClient::new("localhost", ""));
    let endpoint = |name: &str| {
        harness
            .servers
            .authority
            .replace("/v2.0", &format!("/oauth2/v2.0/{name}"))
    };
    let id = demo::BRIDGE_CLIENT_ID.to_string();
    let scope = format!(
        "{}/{} openid offline_access",
        demo::gateway_app_id_uri(),
        demo::GATEWAY_SCOPE
    );

    let page = client.authorize_url(&endpoint("authorize"), &id, &[("scope", &scope)]);
    browser.go_to(&page).await;
    sign_in_pages::sign_in_at_entra(&browser, demo::ADELE).await;
    let came_back = client.callback().await;
    let code = client.code(&came_back);
    let (status, tokens) = client.redeem(&endpoint("token"), &id, &code, &[]).await;

    assert_eq!(status, 200, "{tokens}");
    let claims = claims(&tokens["access_token"]);
    assert_eq!(claims["ver"], "2.0");
    assert_eq!(claims["azp"], id);
    assert_eq!(claims["scp"], demo::GATEWAY_SCOPE);
    assert_eq!(claims["oid"], demo::ADELE_OBJECT_ID.to_string());

    // The user stays signed in: the next sign-in only asks for the account.
    let mut again = OAuthClient::new("localhost", "").await;
    let page = again.authorize_url(&endpoint("authorize"), &id, &[("scope", "openid")]);
    browser.go_to(&page).await;
    let came_back = again.callback().await;
    again.code(&came_back);
}
