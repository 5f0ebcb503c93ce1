//! Sign-ins: the authorization request and the checks of its response.
//!
//! Owns: `state`, `nonce` and the PKCE verifier, which exist only in the memory of one flow, the
//! authorization URL, and the checks of the response.
//! Does not own: I/O. `start` returns a URL and a [`Pending`], which can be finished once. The
//! listener, the registration and the code exchange are separate.

mod approval_page;
mod callback;
mod client;
mod device;
mod entra_request;
mod exchange;
mod flow;
mod form;
mod page;
mod pasted_callback;
mod pending;
mod plan;
mod preview;
mod prior_state;
mod scopes;
#[cfg(test)]
mod tests;
mod user_identity;

use std::borrow::Cow;

use model::{Issuer, Resource};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

pub use device::DeviceFlow;
pub use flow::SignInFlow;
pub use pasted_callback::{PastedCallback, PastedCallbackError};
use pending::{AuthorizationResponseError, CodeGrant, Pending};
pub(crate) use plan::RegisteredUri;
pub(crate) use preview::{
    AuthorizationSource, CallbackPort, RegistrationStatus, SignInPreview, preview,
};

use crate::discovery::AuthorizationServer;
use crate::random::{Random, token};
use crate::secret::{Nonce, State, Verifier};

/// The parameters of an authorization request.
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) server: &'a AuthorizationServer,
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) resource: Option<&'a Resource>,
    /// The response mode, or `None` for a query.
    pub(crate) response_mode: Option<&'static str>,
    /// The claims that Entra is asked for, as JSON.
    pub(crate) claims: Option<String>,
    pub(crate) account: &'a AccountSelection,
}

/// The account to sign in with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccountSelection {
    /// The account of the last sign-in, else the choice of the authorization server.
    #[default]
    Last,
    /// The user with this name.
    Named {
        /// As [`Account::username`](crate::Account::username).
        username: String,
        /// The issuer that knows the name. No other authorization server gets it.
        issuer: Issuer,
    },
    /// The user chooses on the page of the authorization server.
    Prompt,
}

/// Where the browser runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrowserLocation {
    /// On a machine from which it reaches the callback port.
    Local,
    /// Possibly on another machine. The user pastes the address that the browser ends on, so the
    /// response must be in its query.
    Remote,
}

impl AuthorizationRequest<'_> {
    /// Returns the URL for the browser, and the state that checks the response.
    pub(crate) fn start(&self, random: Random<'_>) -> (Url, Pending) {
        let state = State::new(token(random));
        let verifier = Verifier::new(token(random));
        let nonce = self.asks_for_identity().then(|| Nonce::new(token(random)));
        let url = self.url(&state, &verifier, nonce.as_ref());
        let pending = Pending {
            state,
            verifier,
            nonce,
            issuer: self.server.issuer.clone(),
            issuer_required: self.server.sends_issuer,
        };
        (url, pending)
    }

    fn asks_for_identity(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "openid")
    }

    /// Returns the `login_hint` (OpenID Connect Core 1.0 §3.1.2.1).
    fn login_hint(&self) -> Option<&str> {
        match self.account {
            AccountSelection::Named { username, .. } if self.asks_for_identity() => Some(username),
            AccountSelection::Named { .. } | AccountSelection::Last | AccountSelection::Prompt => {
                None
            }
        }
    }

    /// Returns the `prompt` that makes the authorization server show the account picker. Not
    /// combined with a hint.
    fn prompt(&self) -> Option<&'static str> {
        (*self.account == AccountSelection::Prompt && self.asks_for_identity())
            .then_some("select_account")
    }

    fn url(&self, state: &State, verifier: &Verifier, nonce: Option<&Nonce>) -> Url {
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(
            verifier.expose().to_owned(),
        ));
        let scope = self.scopes.join(" ");
        let mut ours = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("state", state.expose()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let optional = [
            ("scope", Some(&*scope).filter(|scope| !scope.is_empty())),
            ("resource", self.resource.map(Resource::as_str)),
            ("nonce", nonce.map(Nonce::expose)),
            ("response_mode", self.response_mode),
            ("claims", self.claims.as_deref()),
            ("login_hint", self.login_hint()),
            ("prompt", self.prompt()),
        ];
        ours.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        merged(self.server.authorization_endpoint.url(), &ours)
    }
}

/// Adds `ours` to the query of `endpoint`. Replaces parameters of the same name.
fn merged(endpoint: &Url, ours: &[(&str, &str)]) -> Url {
    let matches_redirect = |name: &str| ours.iter().any(|(our, _)| *our == name);
    let theirs: Vec<(Cow<'_, str>, Cow<'_, str>)> = endpoint
        .query_pairs()
        .filter(|(name, _)| !matches_redirect(name))
        .collect();
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(theirs)
        .extend_pairs(ours);
    url
}
