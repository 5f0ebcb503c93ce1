//! The tokens of targets: the `Authorization` for each request, and what servers answer to it.
//!
//! Does not own: how a user's tokens are refreshed, nor how client credentials get theirs.

use model::EndpointUrl;
use model::config::ServerAuth;
use tokio::sync::watch;

use super::Identity;
use crate::discovery::Challenge;
use crate::error::AuthorizationError;
use crate::target::{Authorization, Target, TokenNumber};
use crate::token::Grant;

impl Identity {
    /// Returns the authorization for `target`, or `None` if it needs none.
    ///
    /// If there is a valid token that `target` did not refuse, the first poll returns it. Five
    /// minutes before its expiry (halfway, if its lifetime is less than ten minutes) a single
    /// background request refreshes it, however many callers there are. Without such a token, this
    /// waits for the authorization server.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`]. This never opens a browser.
    pub async fn authorization(
        &self,
        target: &Target,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        self.authorization_at(target, target.url()).await
    }

    /// Like [`authorization`](Self::authorization), for a `server` that takes the tokens of
    /// `target`: the target itself, or an endpoint of its authorization server.
    pub(crate) async fn authorization_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
    ) -> Result<Option<Authorization>, AuthorizationError> {
        let source = &self.0.source;
        match target.auth() {
            ServerAuth::None => Ok(None),
            ServerAuth::ClientCredentials(config) => {
                let token_cache = &self.0.token_cache;
                let given = token_cache.authorization(source, target, server, config);
                given.await.map(Some)
            }
            ServerAuth::Discover | ServerAuth::Client { .. } | ServerAuth::Entra { .. } => {
                let found = source.authorization_at(target, server);
                found.await.map(Some)
            }
        }
    }

    /// Records that `target` answered 401 to `used`, so that the next
    /// [`authorization`](Self::authorization) refreshes. Keeps a newer token.
    ///
    /// `challenge` is the `WWW-Authenticate` header of the 401. If it is one of Entra's claims
    /// challenges, the next token request asks for those claims, and so does the next sign-in if
    /// no token satisfies them. Other servers that take the same token are not affected.
    pub async fn refused(&self, target: &Target, used: &Authorization, challenge: Option<&str>) {
        let source = &self.0.source;
        let is_kept = !matches!(target.auth(), ServerAuth::ClientCredentials(_));
        if is_kept && source.store.load().await.is_err() {
            return;
        }
        let claims = challenge
            .and_then(Challenge::parse)
            .and_then(|known| known.claims);
        self.refused_at(target, target.url(), used, claims);
    }

    /// Like [`refused`](Self::refused), for a server as in
    /// [`authorization_at`](Self::authorization_at).
    pub(crate) fn refused_at(
        &self,
        target: &Target,
        server: &EndpointUrl,
        used: &Authorization,
        claims: Option<String>,
    ) {
        let source = &self.0.source;
        match target.auth() {
            ServerAuth::ClientCredentials(_) => {
                let token_cache = &self.0.token_cache;
                token_cache.refused(target, server, used.serial, source.clock.unix());
            }
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => source.refused(target, server, used, claims),
        }
    }

    /// Records that `target` accepted a request with `used`: its status was neither 401 nor 403.
    /// Pins the audience of the first such token, if the authorization server grants by scope
    /// alone.
    pub fn accepted(&self, target: &Target, used: &Authorization) {
        self.0.source.accepted(target, used);
    }

    /// Returns true if [`authorization`](Self::authorization) would return a token for `target`
    /// now without a request to the authorization server. Reads memory only, for targets that
    /// users sign in to.
    #[must_use]
    pub fn has_usable_token(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let entry = source.store.grant_for(target.key());
        let usable = entry.and_then(|entry| entry.usable_at(target.url(), source.clock.unix()));
        usable.is_some_and(|authorization| source.checked(target, authorization).is_ok())
    }

    /// Returns the number of the newest access token for `target`, usable or not, or `None` if no
    /// user is signed in. Reads memory only, for targets that users sign in to.
    #[must_use]
    pub fn newest_token(&self, target: &Target) -> Option<TokenNumber> {
        let entry = self.0.source.store.grant_for(target.key())?;
        Some(TokenNumber(entry.serial()))
    }

    /// Returns true if the sign-in for `target` has ended and only the user can renew it, even if
    /// single servers still accept its tokens. Reads memory only, like
    /// [`account_for`](Self::account_for).
    #[must_use]
    pub fn has_ended(&self, target: &Target) -> bool {
        let source = &self.0.source;
        let entry = source.store.grant_for(target.key());
        entry.is_some_and(|entry| entry.has_ended(source.clock.unix()))
    }

    /// Notifies when a grant got a new access token without a sign-in, whichever request asked for
    /// it.
    #[must_use]
    pub fn refreshes(&self) -> watch::Receiver<()> {
        self.0.source.refreshed.subscribe()
    }

    /// Returns the consents endpoint that takes the tokens of
    /// [`authorization`](Self::authorization), and the HTTP client for it. Returns `None` if there
    /// is none.
    pub(crate) async fn consents_endpoint(
        &self,
        target: &Target,
    ) -> Option<(EndpointUrl, &reqwest::Client)> {
        let source = &self.0.source;
        let (endpoint, zone) = match target.auth() {
            ServerAuth::ClientCredentials(_) => {
                self.0.token_cache.consents_endpoint(target).await?
            }
            ServerAuth::None
            | ServerAuth::Discover
            | ServerAuth::Client { .. }
            | ServerAuth::Entra { .. } => {
                let entry = source.store.grant_for(target.key())?;
                entry.with_grant(|Grant { endpoints, .. }| {
                    Some((endpoints.consents.clone()?, endpoints.zone))
                })?
            }
        };
        Some((endpoint, source.clients.client_for(zone)))
    }
}
