//! Starts sign-ins, and diagnoses them without starting one.
//!
//! Does not own: the sign-in itself, nor opening a browser.

use tokio::sync::watch;

use super::Identity;
use crate::diagnostics::{self, Finding};
use crate::discovery::{Challenge, Discovery};
use crate::error::SignInError;
use crate::sign_in::{AccountSelection, BrowserLocation, DeviceFlow, SignInFlow};
use crate::target::Target;

impl Identity {
    /// Prepares a sign-in: runs discovery, registers a client if needed, and listens on the
    /// callback port. It opens no browser: open the flow's URL, then
    /// [`finish`](SignInFlow::finish) it.
    ///
    /// `challenge` is the `WWW-Authenticate` header of a 401 or 403, if there was one. `account`
    /// is a proposal: the user may sign in with another account.
    ///
    /// # Errors
    ///
    /// [`SignInError`], for everything that can be checked before the browser opens.
    pub async fn start_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, account, BrowserLocation::Local)
            .await
    }

    /// Like [`start_sign_in`](Self::start_sign_in), for a browser that may be unable to reach this
    /// machine. The user pastes the address that it ends on into
    /// [`pasted_callback`](SignInFlow::pasted_callback).
    ///
    /// # Errors
    ///
    /// Like [`start_sign_in`](Self::start_sign_in).
    pub async fn start_sign_in_elsewhere(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
    ) -> Result<SignInFlow, SignInError> {
        self.start(target, challenge, account, BrowserLocation::Remote)
            .await
    }

    /// Prepares a sign-in without a browser on this machine (RFC 8628): runs discovery, registers
    /// a client if needed, and requests the codes. Show the user code and the verification URI,
    /// then [`finish`](DeviceFlow::finish) the flow. `challenge` is as in
    /// [`start_sign_in`](Self::start_sign_in).
    ///
    /// # Errors
    ///
    /// [`SignInError`]. `NoDeviceCode`, if the authorization server offers no device codes, or
    /// none to clients that register dynamically.
    pub async fn start_device_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<DeviceFlow, SignInError> {
        let source = self.0.source.clone();
        DeviceFlow::start(source, &self.0.client, target, challenge).await
    }

    /// Returns true if the next sign-in to `target` must use a browser: the last one used a device
    /// code, and the authorization server refused to refresh it. Reads memory only, like
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn needs_browser(&self, target: &Target) -> bool {
        let entry = self.0.source.store.grant_for(target.key());
        entry.is_some_and(|entry| entry.is_device_code_refused())
    }

    /// Notifies of every sign-in, even if its caller stopped waiting: a sign-in that is cancelled
    /// during the token request still brings tokens.
    #[must_use]
    pub fn sign_ins(&self) -> watch::Receiver<()> {
        self.0.source.signed_in.subscribe()
    }

    /// Diagnoses the sign-in to `target`, and says what to change. Changes nothing: registers no
    /// client, opens no browser, requests no token. `challenge` is as in
    /// [`start_sign_in`](Self::start_sign_in).
    pub async fn diagnose(&self, target: &Target, challenge: Option<&str>) -> Vec<Finding> {
        diagnostics::diagnose(&self.0.source, &self.0.client, target, challenge).await
    }

    /// Checks that a server that refuses requests without a token names a way to sign in. Changes
    /// nothing, like [`diagnose`](Self::diagnose). `challenge` is as there.
    ///
    /// # Errors
    ///
    /// [`SignInError`]: `NoSignIn`, if it names none.
    pub async fn find_sign_in(
        &self,
        target: &Target,
        challenge: Option<&str>,
    ) -> Result<(), SignInError> {
        let source = &self.0.source;
        let discovery = Discovery {
            http: &source.clients,
            server: target.url(),
            issuers: source.known_issuers(target),
        };
        let challenge = challenge.map(|text| Challenge::parse(text).unwrap_or_default());
        discovery.discover(challenge, |_| true).await.map(|_| ())
    }

    async fn start(
        &self,
        target: &Target,
        challenge: Option<&str>,
        account: AccountSelection,
        browser: BrowserLocation,
    ) -> Result<SignInFlow, SignInError> {
        let (source, client) = (self.0.source.clone(), &self.0.client);
        SignInFlow::start(source, client, target, challenge, account, browser).await
    }
}
