//! Applies the outcome of a refresh to the state of a grant.
//!
//! Invariant: the number and the description of an OAuth error decide nothing.

use std::time::Duration;

use texts::{Describe, Text};

use super::attempts::Backoff;
use super::refresh::{Refresh, RefreshOutcome};
use super::state::State;
use crate::error::SignInReason;
use crate::explanation::Explanation;
use crate::oauth_error::OAuthError;
use crate::token::bearer::{header, next_serial};
use crate::token::endpoint::EndpointError;
use crate::token::grant::Tokens;
use crate::token::grant_error::GrantError;
use crate::token::pause::{AFTER_BUSY, AFTER_POLICY_DENIAL, AFTER_REFUSAL, AFTER_UNREACHABLE};

impl State {
    pub(super) fn accept(&mut self, refresh: &Refresh, mut tokens: Tokens) {
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

    pub(super) fn record_error(
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
                    reason: error.text(),
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
                    reason: Text::verbatim(oauth_error),
                    retry_after: Some(Duration::from_secs(AFTER_REFUSAL)),
                };
                (error, RefreshOutcome::Unchanged)
            }
            _ => {
                let reason = explanation.text();
                let error = GrantError::Misconfigured {
                    reason,
                    explanation: Some(explanation),
                };
                (error, RefreshOutcome::Unchanged)
            }
        }
    }
}
