//! The client credentials grant (RFC 6749 §4.4): no user, no browser, no refresh token.
//!
//! Owns: the tokens, which stay in memory because the client can always request new ones, when
//! they are refreshed, and what an OAuth error means.
//! Does not own: the credential, which stays where the configuration says and is read for each
//! request.

mod authentication;
mod plan;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::EndpointUrl;
use model::config::ClientCredentials;

use self::plan::Plan;
pub(crate) use self::plan::discover_issuer;
use self::state::{ClientCredentialsError, State, TokenStatus};
use crate::account::Account;
use crate::error::AuthorizationError;
use crate::http::NetworkZone;
use crate::target::{Authorization, Target, TargetKey};
use crate::token::source::Source;

/// The tokens of all targets with client credentials.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<HashMap<TargetKey, Arc<CachedToken>>>);

/// Returns the error for a `target` that refuses every token of its client.
pub(crate) fn keeps_refusing(target: &Target) -> AuthorizationError {
    ClientCredentialsError::keeps_refusing().for_server(target)
}

#[derive(Default)]
struct CachedToken {
    state: Mutex<State>,
    /// Held during a token request.
    refresh_lock: Arc<tokio::sync::Mutex<Option<Plan>>>,
}

impl TokenCache {
    /// Returns the authorization for `server`, which takes the tokens of `target`. Five minutes
    /// before its expiry one caller requests a new token in the background.
    pub(crate) async fn authorization(
        &self,
        source: &Source,
        target: &Target,
        server: &EndpointUrl,
        config: &ClientCredentials,
    ) -> Result<Authorization, AuthorizationError> {
        let cached = self.of(target);
        match cached.state().status(server, source.clock.unix()) {
            TokenStatus::Fresh(authorization) => return Ok(authorization),
            TokenStatus::Expiring(authorization) => {
                Arc::clone(&cached).refresh_in_background(source, target, config);
                return Ok(authorization);
            }
            TokenStatus::Failed(error) => return Err(error.for_server(target)),
            TokenStatus::Missing => {}
        }
        let given = cached.wait_for_token(source, target, server, config).await;
        given.map_err(|error| error.for_server(target))
    }

    /// Records that `server` refused a token of `target`. Ignores it if there is a newer token.
    pub(crate) fn refused(&self, target: &Target, server: &EndpointUrl, serial: u64, now: u64) {
        self.of(target).state().refused(server, serial, now);
    }

    /// Returns the account of the client, or `None` if it got no token yet.
    pub(crate) fn account(&self, target: &Target) -> Option<Account> {
        self.of(target).state().account()
    }

    /// Returns the consents endpoint and the zone of the server that names it, or `None` if the
    /// client got no token yet.
    pub(crate) async fn consents_endpoint(
        &self,
        target: &Target,
    ) -> Option<(EndpointUrl, NetworkZone)> {
        let cached = self.of(target);
        let plan = cached.refresh_lock.lock().await;
        plan.as_ref().and_then(Plan::consents_endpoint)
    }

    fn of(&self, target: &Target) -> Arc<CachedToken> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tokens.entry(target.key().clone()).or_default())
    }
}

impl CachedToken {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for_token(
        &self,
        source: &Source,
        target: &Target,
        server: &EndpointUrl,
        config: &ClientCredentials,
    ) -> Result<Authorization, ClientCredentialsError> {
        let mut plan = self.refresh_lock.lock().await;
        // Another caller may have requested a token meanwhile.
        match self.state().status(server, source.clock.unix()) {
            TokenStatus::Fresh(authorization) | TokenStatus::Expiring(authorization) => {
                return Ok(authorization);
            }
            TokenStatus::Failed(error) => return Err(error),
            TokenStatus::Missing => {}
        }
        self.request_token(&mut plan, source, target, config).await
    }

    /// Requests a token in a task of its own, unless a request is in progress.
    fn refresh_in_background(
        self: Arc<Self>,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) {
        let Ok(mut plan) = Arc::clone(&self.refresh_lock).try_lock_owned() else {
            return;
        };
        let (source, target, config) = (source.clone(), target.clone(), config.clone());
        source.token_requests.clone().spawn(async move {
            if self.state().needs_refresh(source.clock.unix()) {
                // The state keeps the outcome for the next callers.
                let _ = self
                    .request_token(&mut plan, &source, &target, &config)
                    .await;
            }
        });
    }

    async fn request_token(
        &self,
        plan: &mut Option<Plan>,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<Authorization, ClientCredentialsError> {
        let asked = self.request(plan, source, target, config).await;
        if asked.is_err() {
            // The error may come from an outdated plan.
            *plan = None;
        }
        let now = source.clock.unix();
        let mut state = self.state();
        match asked {
            Ok((tokens, account)) => Ok(state.accept(tokens, account)),
            Err(error) => {
                state.record_error(&error, now);
                Err(error)
            }
        }
    }

    async fn request(
        &self,
        plan: &mut Option<Plan>,
        source: &Source,
        target: &Target,
        config: &ClientCredentials,
    ) -> Result<(crate::token::Tokens, Account), ClientCredentialsError> {
        let plan = match plan {
            Some(plan) => plan,
            None => plan.insert(Plan::make(source, target, config).await?),
        };
        let tokens = plan.request(source, config).await?;
        Ok((tokens, plan.account(config)))
    }
}
