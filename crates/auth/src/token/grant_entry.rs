//! The state of one grant: its tokens, whether they are usable, and the outcome of the last
//! refresh. No I/O.
//!
//! Invariant: what one server refuses, or requires of its tokens, does not affect the other
//! servers of the grant.

mod attempts;
mod outcome;
mod refresh;
mod state;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{EndpointUrl, Issuer};

pub(crate) use self::refresh::{Refresh, RefreshOutcome};
use self::state::State;
use super::endpoint::EndpointError;
use super::grant::{Grant, Tokens};
use super::grant_error::GrantError;
use crate::error::SignInReason;
use crate::target::{Authorization, TargetKey};

/// One grant in the store.
pub(crate) struct GrantEntry {
    state: Mutex<State>,
    /// Held during a request to the token endpoint for this grant, and while its record changes.
    pub(crate) refresh_lock: Arc<tokio::sync::Mutex<()>>,
}

/// The status of the token for one server.
pub(crate) enum TokenStatus {
    /// Use it.
    Fresh(Authorization),
    /// Use it, and refresh it in the background.
    Expiring(Authorization),
    /// There is no token, and a refresh cannot bring one now.
    Failed(GrantError),
    /// Refresh it. `attempts` is the number of attempts that had finished.
    Stale { attempts: u64 },
}

impl GrantEntry {
    pub(crate) fn new(grant: Grant) -> Self {
        Self {
            state: Mutex::new(State::new(grant)),
            refresh_lock: Arc::default(),
        }
    }

    /// Returns a copy of the grant.
    pub(crate) fn grant(&self) -> Grant {
        self.state().grant.clone()
    }

    /// Calls `read` with the grant. Does not copy the tokens. `read` must not call the grant
    /// store, whose lock is always taken first.
    pub(crate) fn with_grant<T>(&self, read: impl FnOnce(&Grant) -> T) -> T {
        read(&self.state().grant)
    }

    /// Returns the issuer of the grant.
    pub(crate) fn issuer(&self) -> Issuer {
        self.state().grant.key.issuer.clone()
    }

    /// Replaces the grant with that of another sign-in.
    pub(crate) fn replace(&self, grant: Grant) {
        *self.state() = State::new(grant);
    }

    pub(crate) fn set_targets(&self, targets: BTreeSet<TargetKey>) {
        self.state().grant.targets = targets;
    }

    /// Marks the grant as signed out, for callers that still hold it.
    pub(crate) fn mark_signed_out(&self) {
        self.state().is_signed_out = true;
    }

    /// Returns the claims that the next sign-in for the server must request: its own, else those
    /// that the authorization server requires for all.
    pub(crate) fn claims(&self, server: &EndpointUrl) -> Option<String> {
        let state = self.state();
        let own = state.claims_of(server.as_str());
        own.or(state.claims.as_ref()).cloned()
    }

    pub(crate) fn status(&self, server: &EndpointUrl, now: u64) -> TokenStatus {
        self.state().status(server.as_str(), now)
    }

    /// Returns the token for `server`, if there is a usable one.
    pub(crate) fn usable_at(&self, server: &EndpointUrl, now: u64) -> Option<Authorization> {
        match self.status(server, now) {
            TokenStatus::Fresh(authorization) | TokenStatus::Expiring(authorization) => {
                Some(authorization)
            }
            TokenStatus::Failed(_) | TokenStatus::Stale { .. } => None,
        }
    }

    /// Like [`status`](Self::status), after an attempt that finished while the caller waited: its
    /// outcome is the caller's too.
    pub(crate) fn status_after(&self, server: &EndpointUrl, now: u64, seen: u64) -> TokenStatus {
        let state = self.state();
        match state.status(server.as_str(), now) {
            TokenStatus::Stale { attempts } if attempts != seen => {
                match &state.attempts_for(server.as_str()).backoff {
                    Some(backoff) => TokenStatus::Failed(backoff.error.clone()),
                    None => TokenStatus::Stale { attempts },
                }
            }
            status @ (TokenStatus::Fresh(_)
            | TokenStatus::Expiring(_)
            | TokenStatus::Failed(_)
            | TokenStatus::Stale { .. }) => status,
        }
    }

    /// Returns true if the user signed in by device code and the last refresh was refused.
    pub(crate) fn is_device_code_refused(&self) -> bool {
        let state = self.state();
        let shared = std::iter::once(&state.attempts);
        let own = state
            .servers
            .values()
            .map(|server_tokens| &server_tokens.attempts);
        let mut backoffs = shared
            .chain(own)
            .filter_map(|attempts| attempts.backoff.as_ref());
        backoffs.any(|backoff| {
            matches!(
                backoff.error,
                GrantError::SignInNeeded(SignInReason::DeviceCodeRefused, _)
            )
        })
    }

    /// Returns the parameters of a refresh for a server without a usable token.
    pub(crate) fn refresh_for(&self, server: &EndpointUrl) -> Refresh {
        let state = self.state();
        match state.claims_of(server.as_str()).cloned() {
            Some(claims) => Refresh::ForServer {
                server: server.as_str().to_owned(),
                claims,
            },
            None => state.shared_refresh(),
        }
    }

    /// Returns the parameters of a background refresh. Returns `None` if none is needed, or if the
    /// last attempt failed a moment ago.
    pub(crate) fn refresh_in_background(&self, now: u64) -> Option<Refresh> {
        let state = self.state();
        (!state.is_signed_out && state.needs_refresh(now)).then(|| state.shared_refresh())
    }

    /// Returns true if only the user can renew the sign-in, even if single servers still accept
    /// the token.
    pub(crate) fn has_ended(&self, now: u64) -> bool {
        let state = self.state();
        let needs_user = state.attempts.backoff.as_ref().is_some_and(|backoff| {
            matches!(
                backoff.error,
                GrantError::SignInNeeded(..) | GrantError::RegistrationLost
            )
        });
        let tokens = &state.grant.tokens;
        tokens.has_expired(now) && (tokens.refresh.is_none() || needs_user)
    }

    /// Returns the number of the access token.
    pub(crate) fn serial(&self) -> u64 {
        self.state().serial
    }

    /// Records that the server refused an access token. Ignores it if there is a newer one.
    /// `claims` is what the next token needs, if the server said that.
    pub(crate) fn refused(
        &self,
        server: &EndpointUrl,
        serial: u64,
        now: u64,
        claims: Option<String>,
    ) {
        let State {
            grant,
            serial: current,
            servers,
            ..
        } = &mut *self.state();
        if *current != serial {
            return;
        }
        let server_tokens = servers.entry(server.as_str().to_owned()).or_default();
        if server_tokens.refused.record(serial, &grant.tokens, now) && claims.is_some() {
            server_tokens.claims = claims;
        }
    }

    /// Records the outcome of a refresh. Returns what the caller must store.
    pub(crate) fn finish_refresh(
        &self,
        refresh: &Refresh,
        outcome: Result<Tokens, EndpointError>,
        now: u64,
    ) -> RefreshOutcome {
        let mut state = self.state();
        match outcome {
            Ok(tokens) => {
                state.accept(refresh, tokens);
                RefreshOutcome::Refreshed
            }
            Err(error) => state.record_error(refresh, error, now),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
