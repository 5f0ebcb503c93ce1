//! The tokens of a grant, for all its servers and at single ones.

use std::collections::HashMap;

use ::http::HeaderValue;

use super::TokenStatus;
use super::attempts::Attempts;
use super::refresh::Refresh;
use crate::error::SignInReason;
use crate::target::Authorization;
use crate::token::bearer::{header, next_serial};
use crate::token::grant::Grant;
use crate::token::grant_error::GrantError;
use crate::token::refused::Refused;

/// The state of a grant.
pub(super) struct State {
    pub(super) grant: Grant,
    pub(super) header: HeaderValue,
    pub(super) serial: u64,
    /// The refresh attempts for all servers of the grant.
    pub(super) attempts: Attempts,
    /// The claims that the authorization server requires, for all servers.
    pub(super) claims: Option<String>,
    /// The state of the tokens at single servers, by URL.
    pub(super) servers: HashMap<String, ServerTokens>,
    pub(super) is_signed_out: bool,
}

/// The state of the tokens at one server.
#[derive(Default)]
pub(super) struct ServerTokens {
    pub(super) refused: Refused,
    /// The claims that its next token needs.
    pub(super) claims: Option<String>,
    /// The refresh attempts with those claims.
    pub(super) attempts: Attempts,
}

impl State {
    pub(super) fn new(grant: Grant) -> Self {
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

    pub(super) fn claims_of(&self, server: &str) -> Option<&String> {
        self.servers.get(server)?.claims.as_ref()
    }

    pub(super) fn shared_refresh(&self) -> Refresh {
        Refresh::Shared {
            claims: self.claims.clone(),
        }
    }

    /// Returns the attempts that a refresh for this server counts among.
    pub(super) fn attempts_for(&self, server: &str) -> &Attempts {
        match self.servers.get(server) {
            Some(server_tokens) if server_tokens.claims.is_some() => &server_tokens.attempts,
            Some(_) | None => &self.attempts,
        }
    }

    /// Returns true if the token is usable and should be refreshed.
    pub(super) fn needs_refresh(&self, now: u64) -> bool {
        let tokens = &self.grant.tokens;
        tokens.refresh.is_some()
            && tokens.needs_refresh(now)
            && self.attempts.active_error(now, true).is_none()
    }

    pub(super) fn status(&self, server: &str, now: u64) -> TokenStatus {
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
}
