//! Several people of one organisation at one machine: who opens which server, and who leaves.

use control::api::{AccountView, Request};
use emulator::demo;

use crate::harness::{entra_servers::EntraServers, sign_in_pages};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_have_a_server_each_change_it_and_leave_everywhere() {
    let mut place = EntraServers::start().await;
    let adele = place.sign_in(async |place| {
        sign_in_pages::sign_in_at_entra(&place.browser, demo::ADELE).await;
        sign_in_pages::expect_signed_in(&place.browser).await;
    });
    adele.await.expect("a sign-in");
    let switch = |server: &str, account: Option<&AccountView>| Request::SwitchAccount {
        server: server.to_owned(),
        account: account.map(|account| account.id.clone()),
        way: Default::default(),
    };

    // Another person of the same client is chosen on Entra's page, whoever is signed in there.
    let grady = place.ask(switch("reports", None), async |place| {
        place.browser.click("form[data-page=pick] #otherTile").await;
        sign_in_pages::sign_in_at_entra(&place.browser, demo::GRADY).await;
        sign_in_pages::expect_signed_in(&place.browser).await;
    });
    grady.await.expect("another sign-in");
    let state = place.bridge.state().await;
    assert_eq!(state.accounts.len(), 2);
    let account = |name: &str| {
        let mut accounts = state.accounts.iter();
        let found = accounts.find(|account| account.username.as_deref() == Some(name));
        found.expect("an account").clone()
    };
    let (adele, grady) = (account(demo::ADELE), account(demo::GRADY));
    assert_eq!(place.opens("crm").await, Some(adele.id.clone()));
    assert_eq!(place.opens("reports").await, Some(grady.id.clone()));

    // A sign-in of Adele's opens the other server too, without a browser.
    let tabs = place.bridge.browser.page_count();
    place.bridge.ask(switch("reports", Some(&adele))).await;
    assert_eq!(place.opens("reports").await, Some(adele.id.clone()));
    assert_eq!(place.bridge.browser.page_count(), tabs);

    // Leaving everywhere ends the browser's session as well.
    let leave = Request::SignOut {
        account: Some(adele.id),
        everywhere: true,
    };
    place.bridge.ask(leave).await;
    let page = place.bridge.browser.page(tabs).await;
    assert!(page.contains("/oauth2/v2.0/logout?"), "{page}");
    place.browser.go_to(&page).await;
    assert_eq!(place.bridge.state().await.accounts.len(), 0);
}
