//! The actions of a user on the pages of a sign-in.

use super::browser::Browser;

/// Selects an account on Entra's page, enters a password, and stays signed in.
pub(crate) async fn sign_in_at_entra(browser: &Browser, account: &str) {
    browser
        .click(&format!("button[data-account=\"{account}\"]"))
        .await;
    browser.fill("input[name=passwd]", "any password").await;
    browser.click("#idSIButton9").await;
    // The next page has the same button, but no password field.
    browser
        .find("form:not(:has(input[name=passwd])) #idSIButton9")
        .await;
    browser.click("#idSIButton9").await;
}

/// Enters a device code, signs in, and confirms the request.
pub(crate) async fn enter_device_code(browser: &Browser, code: &str, account: &str) {
    browser.fill("input[name=otc]", code).await;
    browser.click("form[data-page=device] #idSIButton9").await;
    sign_in_at_entra(browser, account).await;
    browser.click("form[data-page=confirm] #idSIButton9").await;
    browser.find("main:not(:has(form))").await;
    let text = browser.text().await;
    assert!(text.contains("on your device"), "{text}");
}

/// Consents on the gateway's page.
pub(crate) async fn consent_at_gateway(browser: &Browser) {
    browser.click("button[name=answer][value=allow]").await;
}

/// Waits for the final page of the sign-in and checks that it succeeded.
pub(crate) async fn expect_signed_in(browser: &Browser) {
    browser.find("main > .mark").await;
    let text = browser.text().await;
    assert!(text.contains("You are signed in"), "{text}");
}
