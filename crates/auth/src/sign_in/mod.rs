//! One sign-in: what the browser is sent to, and what counts as its answer.
//!
//! Owns: `state`, `nonce` and the PKCE verifier, which exist in the memory of this one flow and
//! nowhere else; the authorize URL; the checks on the answer.
//! Does not own: I/O. `start` makes a URL and a [`Pending`], which can be finished once; the
//! listener, the registration and the exchange are around it.

mod approval_page;
mod callback;
mod client;
mod device;
mod entra_request;
mod exchange;
mod flow;
mod page;
mod pasted_callback;
mod pending;
mod plan;
mod ports;
mod preview;
mod prior_state;
#[cfg(test)]
mod tests;
mod user_identity;

use std::borrow::Cow;

use model::{Issuer, Resource};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

pub use device::DeviceFlow;
pub(crate) use exchange::ReturnTo;
pub use flow::SignInFlow;
pub use pasted_callback::{HandIn, HandInError};
use pending::{AnswerError, Pending, Redeemable};
pub(crate) use ports::Ports;
pub(crate) use preview::{Membership, Outlook, RegisteredUri, Return, Upstream, outlook};

use crate::discovery::AuthorizationServer;
use crate::random::{Random, token};
use crate::secret::{Nonce, State, Verifier};

/// A sign-in that has not begun.
pub(crate) struct SignIn<'a> {
    pub(crate) server: &'a AuthorizationServer,
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) resource: Option<&'a Resource>,
    /// How the answer is to come back; a query if nothing is said.
    pub(crate) response_mode: Option<&'static str>,
    /// Claims that Entra wants asked for, as JSON.
    pub(crate) claims: Option<String>,
    pub(crate) whom: &'a Whom,
}

/// Who is to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whom {
    /// Whoever did so last; else whomever the authorization server takes.
    #[default]
    Same,
    /// The user of this name.
    Named {
        /// As in [`Account::username`](crate::Account::username).
        username: String,
        /// Who knows the user by that name: no other authorization server gets to see it.
        issuer: Issuer,
    },
    /// Whom the person chooses there.
    Chosen,
}

impl SignIn<'_> {
    /// The URL for the browser, and what waits for its answer.
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
            issuer_required: self.server.names_itself,
        };
        (url, pending)
    }

    fn asks_for_identity(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "openid")
    }

    /// Whom to propose (OpenID Connect Core 1.0 section 3.1.2.1).
    fn login_hint(&self) -> Option<&str> {
        match self.whom {
            Whom::Named { username, .. } if self.asks_for_identity() => Some(username),
            Whom::Named { .. } | Whom::Same | Whom::Chosen => None,
        }
    }

    /// Has the authorization server show whom it knows. Not together with a hint.
    fn prompt(&self) -> Option<&'static str> {
        (*self.whom == Whom::Chosen && self.asks_for_identity()).then_some("select_account")
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

/// `endpoint` with `ours` in its query; a name that is already there is replaced, not doubled.
fn merged(endpoint: &Url, ours: &[(&str, &str)]) -> Url {
    let is_ours = |name: &str| ours.iter().any(|(our, _)| *our == name);
    let theirs: Vec<(Cow<'_, str>, Cow<'_, str>)> = endpoint
        .query_pairs()
        .filter(|(name, _)| !is_ours(name))
        .collect();
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(theirs)
        .extend_pairs(ours);
    url
}
