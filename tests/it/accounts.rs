//! Several users of one organisation on one machine: which account opens which server, and signing
//! out.

use control::api::{AccountView, Request};
use emulator::demo;

use crate::harness::{entra_servers::EntraServers, sign_in_pages};

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_switch_servers_and_sign_out_everywhere() {
    let mut entra = EntraServers::start().await;
    let adele = entra.sign_in(async |entra| {
        sign_in_pages::sign_in_at_entra(&entra.browser, demo::ADELE).await;
        sign_in_pages::expect_signed_in(&entra.browser).await;
    });
    adele.await.expect("a sign-in");
    let switch = |server: &str, account: Option<&AccountView>| Request::SwitchAccount {
        server: server.to_owned(),
        account: account.map(|account| account.id.clone()),
        way: Default::default(),
    };

    // The user chooses another account on Entra's page, although Adele is signed in there.
    let grady = entra.request(switch("reports", None), async |entra| {
        entra.browser.click("form[data-page=pick] #otherTile").await;
        sign_in_pages::sign_in_at_entra(&entra.browser, demo::GRADY).await;
        sign_in_pages::expect_signed_in(&entra.browser).await;
    });
    grady.await.expect("another sign-in");
    let state = entra.bridge.state().await;
    assert_eq!(state.accounts.len(), 2);
    let account = |name: &str| {
        let mut accounts = state.accounts.iter();
        let found = accounts.find(|account| account.username.as_deref() == Some(name));
        found.expect("an account").clone()
    };
    let (adele, grady) = (account(demo::ADELE), account(demo::GRADY));
    assert_eq!(entra.account_of("crm").await, Some(adele.id.clone()));
    assert_eq!(entra.account_of("reports").await, Some(grady.id.clone()));

    // Adele's existing sign-in opens the other server too, without a browser.
    let tabs = entra.bridge.browser.page_count();
    entra.bridge.request(switch("reports", Some(&adele))).await;
    assert_eq!(entra.account_of("reports").await, Some(adele.id.clone()));
    assert_eq!(entra.bridge.browser.page_count(), tabs);

    // Signing out everywhere ends the browser's session as well.
    let leave = Request::SignOut {
        account: Some(adele.id),
        everywhere: true,
    };
    entra.bridge.request(leave).await;
    let page = entra.bridge.browser.page(tabs).await;
    assert!(page.contains("/oauth2/v2.0/logout?"), "{page}");
    entra.browser.go_to(&page).await;
    assert_eq!(entra.bridge.state().await.accounts.len(), 0);
}
