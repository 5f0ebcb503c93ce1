//! The state of one grant: its tokens, whether they are usable, and the outcome of the last
//! refresh. No I/O.
//!
//! Invariant: what one server refuses, or requires of its tokens, does not affect the other
//! servers of the grant.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use model::{EndpointUrl, Issuer};

use super::endpoint::EndpointError;
use super::grant::{Grant, ObtainedBy, Tokens};
use super::pause::{AFTER_BUSY, AFTER_POLICY_DENIAL, AFTER_REFUSAL, AFTER_UNREACHABLE};
use super::refused::Refused;
use crate::error::SignInReason;
use crate::explanation::Explanation;
use crate::oauth_error::OAuthError;
use crate::target::{Authorization, TargetKey};

/// The number of the next access token that this process gets.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Returns a unique number for an access token.
pub(crate) fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// One grant in the store.
pub(crate) struct GrantEntry {
    state: Mutex<State>,
    /// Held during a request to the token endpoint for this grant, and while its record changes.
    pub(crate) refresh_lock: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    grant: Grant,
    header: HeaderValue,
    serial: u64,
    /// The refresh attempts for all servers of the grant.
    attempts: Attempts,
    /// The claims that the authorization server requires, for all servers.
    claims: Option<String>,
    /// The state of the tokens at single servers, by URL.
    servers: HashMap<String, ServerTokens>,
    is_signed_out: bool,
}

/// The state of the tokens at one server.
#[derive(Default)]
struct ServerTokens {
    refused: Refused,
    /// The claims that its next token needs.
    claims: Option<String>,
    /// The refresh attempts with those claims.
    attempts: Attempts,
}

/// Refresh attempts with the same parameters.
#[derive(Default)]
struct Attempts {
    /// The number of finished attempts.
    ended: u64,
    /// The outcome of the last one, if it failed.
    backoff: Option<Backoff>,
}

/// Why and until when the token endpoint gets no request.
struct Backoff {
    until: u64,
    error: GrantError,
    /// True if it ends as soon as there is no usable token.
    only_while_usable: bool,
}

/// Why there is no usable token.
#[derive(Clone, Debug)]
pub(crate) enum GrantError {
    SignInNeeded(SignInReason, Option<Box<Explanation>>),
    Unreachable {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// A policy denies access for now.
    Forbidden(Box<Explanation>),
    Misconfigured {
        reason: String,
        explanation: Option<Box<Explanation>>,
    },
    /// The token is for one of Microsoft's own resources, which the server may not have.
    ForeignAudience {
        audience: String,
        owner: &'static str,
    },
    /// The authorization server does not know the client any more. It has to register again.
    RegistrationLost,
}

impl GrantError {
    /// Adjusts the error to how the user signed in. A refusal after a sign-in by device code may
    /// concern that flow alone, so the next sign-in should use a browser.
    fn for_sign_in_method(self, obtained_by: ObtainedBy) -> Self {
        let reason = SignInReason::DeviceCodeRefused;
        match (obtained_by, self) {
            (ObtainedBy::DeviceCode, Self::SignInNeeded(_, explanation)) => {
                Self::SignInNeeded(reason, explanation)
            }
            (ObtainedBy::DeviceCode, Self::Forbidden(explanation)) => {
                Self::SignInNeeded(reason, Some(explanation))
            }
            (_, error) => error,
        }
    }
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

/// The parameters of a refresh.
pub(crate) enum Refresh {
    /// For all servers of the grant, with the claims that the authorization server requires.
    Shared { claims: Option<String> },
    /// With the claims that the server at this URL requires.
    ForServer { server: String, claims: String },
}

impl Refresh {
    /// Returns the claims to request.
    pub(crate) fn claims(&self) -> Option<String> {
        match self {
            Self::Shared { claims } => claims.clone(),
            Self::ForServer { claims, .. } => Some(claims.clone()),
        }
    }
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

/// The outcome of a refresh attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshOutcome {
    /// There are new tokens to store.
    Refreshed,
    /// The refresh token is invalid and must be deleted.
    Revoked,
    /// The registration is invalid and must be deleted.
    RegistrationLost,
    /// Nothing changed.
    Unchanged,
}

impl Attempts {
    /// Returns the error that prevents another attempt.
    fn active_error(&self, now: u64, usable: bool) -> Option<&GrantError> {
        let is_active =
            |backoff: &&Backoff| now < backoff.until && (usable || !backoff.only_while_usable);
        self.backoff
            .as_ref()
            .filter(is_active)
            .map(|backoff| &backoff.error)
    }

    fn end(&mut self, backoff: Option<Backoff>) {
        self.ended += 1;
        self.backoff = backoff;
    }
}

impl State {
    fn new(grant: Grant) -> Self {
        Self {
            header: header(&grant.tokens),
            serial: next_serial(),
            attempts: Attempts::default(),
            claims: None,
            servers: HashMap::new(),
            is_signed_out: false,
            grant,
        }
    }

    fn claims_of(&self, server: &str) -> Option<&String> {
        self.servers.get(server)?.claims.as_ref()
    }

    fn shared_refresh(&self) -> Refresh {
        Refresh::Shared {
            claims: self.claims.clone(),
        }
    }

    /// Returns the attempts that a refresh for this server counts among.
    fn attempts_for(&self, server: &str) -> &Attempts {
        match self.servers.get(server) {
            Some(server_tokens) if server_tokens.claims.is_some() => &server_tokens.attempts,
            Some(_) | None => &self.attempts,
        }
    }

    /// Returns true if the token is usable and should be refreshed.
    fn needs_refresh(&self, now: u64) -> bool {
        let tokens = &self.grant.tokens;
        tokens.refresh.is_some()
            && tokens.needs_refresh(now)
            && self.attempts.active_error(now, true).is_none()
    }

    fn status(&self, server: &str, now: u64) -> TokenStatus {
        let tokens = &self.grant.tokens;
        if self.is_signed_out {
            return TokenStatus::Failed(GrantError::SignInNeeded(SignInReason::NotSignedIn, None));
        }
        let server_tokens = self.servers.get(server);
        let refused =
            server_tokens.is_some_and(|server_tokens| server_tokens.refused.covers(self.serial));
        if !refused && !tokens.has_expired(now) {
            return match self.needs_refresh(now) {
                true => TokenStatus::Expiring(self.authorization()),
                false => TokenStatus::Fresh(self.authorization()),
            };
        }
        if server_tokens.is_some_and(|server_tokens| server_tokens.refused.is_paused(now)) {
            let reason = SignInReason::KeepsRefusing;
            return TokenStatus::Failed(GrantError::SignInNeeded(reason, None));
        }
        if tokens.refresh.is_none() {
            let ended = match refused {
                true => SignInReason::Revoked,
                false => SignInReason::Expired,
            };
            let known = self
                .attempts
                .backoff
                .as_ref()
                .map(|backoff| backoff.error.clone());
            return TokenStatus::Failed(known.unwrap_or(GrantError::SignInNeeded(ended, None)));
        }
        let attempts = self.attempts_for(server);
        let shared = || self.attempts.active_error(now, false);
        match attempts.active_error(now, false).or_else(shared) {
            Some(error) => TokenStatus::Failed(error.clone()),
            None => TokenStatus::Stale {
                attempts: attempts.ended,
            },
        }
    }

    fn authorization(&self) -> Authorization {
        Authorization {
            header: self.header.clone(),
            account: self.grant.account.key.clone(),
            serial: self.serial,
        }
    }

    fn accept(&mut self, refresh: &Refresh, mut tokens: Tokens) {
        // Omitted means unchanged (RFC 6749 §5.1).
        let granted = self.grant.tokens.scopes.take();
        tokens.scopes = tokens.scopes.or(granted);
        self.header = header(&tokens);
        self.serial = next_serial();
        self.grant.tokens = tokens;
        self.claims = None;
        self.attempts.end(None);
        if let Refresh::ForServer { server, .. } = refresh {
            let server_tokens = self.servers.entry(server.clone()).or_default();
            server_tokens.claims = None;
            server_tokens.attempts.end(None);
        }
    }

    fn record_error(
        &mut self,
        refresh: &Refresh,
        error: EndpointError,
        now: u64,
    ) -> RefreshOutcome {
        let (until, error, only_while_usable) = match error {
            EndpointError::Refused(oauth_error) => {
                return self.apply_oauth_error(refresh, &oauth_error, now);
            }
            EndpointError::Busy {
                reason,
                retry_after,
            } => {
                let wait = retry_after.map_or(AFTER_BUSY, |wait| wait.as_secs());
                let error = GrantError::Unreachable {
                    reason,
                    retry_after: Some(Duration::from_secs(wait)),
                };
                (now + wait, error, false)
            }
            EndpointError::Http(error) => {
                let error = GrantError::Unreachable {
                    reason: error.to_string(),
                    retry_after: None,
                };
                (now + AFTER_UNREACHABLE, error, true)
            }
        };
        let backoff = Backoff {
            until,
            error,
            only_while_usable,
        };
        self.end_failed(refresh, backoff, None);
        RefreshOutcome::Unchanged
    }

    /// Finishes a failed attempt: for all servers, or for the one whose claims it requested.
    /// `claims` is what the authorization server requires next.
    fn end_failed(&mut self, refresh: &Refresh, backoff: Backoff, claims: Option<String>) {
        let (attempts, wanted) = match refresh {
            Refresh::Shared { .. } => (&mut self.attempts, &mut self.claims),
            Refresh::ForServer { server, .. } => {
                let server_tokens = self.servers.entry(server.clone()).or_default();
                (&mut server_tokens.attempts, &mut server_tokens.claims)
            }
        };
        attempts.end(Some(backoff));
        if claims.is_some() {
            *wanted = claims;
        }
    }

    /// Applies an OAuth error by its code. Ignores numbers and descriptions.
    fn apply_oauth_error(
        &mut self,
        refresh: &Refresh,
        oauth_error: &OAuthError,
        now: u64,
    ) -> RefreshOutcome {
        let (error, mut outcome) = self.meaning(oauth_error);
        let for_all = match refresh {
            Refresh::Shared { .. } => true,
            // A server may have invented the claims, so any error may be about them. A refresh
            // without them shows whether the grant is invalid. Only an error about the refresh
            // token itself counts for it too.
            Refresh::ForServer { .. } => oauth_error.invalidates_refresh_token(),
        };
        match outcome {
            RefreshOutcome::Revoked if for_all => self.grant.tokens.refresh = None,
            RefreshOutcome::Revoked => outcome = RefreshOutcome::Unchanged,
            RefreshOutcome::RegistrationLost
            | RefreshOutcome::Unchanged
            | RefreshOutcome::Refreshed => {}
        }
        let rest = match error {
            GrantError::Forbidden(_) => AFTER_POLICY_DENIAL,
            _ => AFTER_REFUSAL,
        };
        let backoff = Backoff {
            until: now + rest,
            error: error.for_sign_in_method(self.grant.obtained_by),
            only_while_usable: false,
        };
        let shared = self.shared_refresh();
        let counts_for = if for_all { &shared } else { refresh };
        self.end_failed(counts_for, backoff, oauth_error.claims.clone());
        outcome
    }

    fn meaning(&self, oauth_error: &OAuthError) -> (GrantError, RefreshOutcome) {
        let key = &self.grant.key;
        let explanation = Explanation::from_error(oauth_error, &key.issuer, Some(&key.client_id));
        match oauth_error.error.as_str() {
            "invalid_grant" if oauth_error.invalidates_grant() => {
                let revoked = GrantError::SignInNeeded(SignInReason::Revoked, Some(explanation));
                (revoked, RefreshOutcome::Revoked)
            }
            "invalid_grant" if oauth_error.is_policy_denial() => (
                GrantError::Forbidden(explanation),
                RefreshOutcome::Unchanged,
            ),
            "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
                let reason = SignInReason::InteractionRequired;
                let asked = GrantError::SignInNeeded(reason, Some(explanation));
                (asked, RefreshOutcome::Unchanged)
            }
            "invalid_client" | "unauthorized_client" if self.grant.client.is_registered() => (
                GrantError::RegistrationLost,
                RefreshOutcome::RegistrationLost,
            ),
            "temporarily_unavailable" | "server_error" => {
                let error = GrantError::Unreachable {
                    reason: oauth_error.to_string(),
                    retry_after: Some(Duration::from_secs(AFTER_REFUSAL)),
                };
                (error, RefreshOutcome::Unchanged)
            }
            _ => {
                let reason = explanation.what.to_string();
                let error = GrantError::Misconfigured {
                    reason,
                    explanation: Some(explanation),
                };
                (error, RefreshOutcome::Unchanged)
            }
        }
    }
}

pub(crate) fn header(tokens: &Tokens) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", tokens.access.expose()))
        // The token endpoint accepts no other characters, and the vault stores what came from
        // there.
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
