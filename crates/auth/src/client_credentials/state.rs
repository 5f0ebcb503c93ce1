//! The state of the token for one target. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use model::EndpointUrl;
use texts::{Arg, Text, text};

use crate::account::Account;
use crate::error::AuthorizationError;
use crate::explanation::Explanation;
use crate::target::{Authorization, Target};
use crate::token::Tokens;
use crate::token::bearer::{header, next_serial};
use crate::token::pause::{AFTER_REFUSAL, AFTER_UNREACHABLE};
use crate::token::refused::Refused;
use crate::vault::VaultError;

/// The current token, and the backoff after an error.
#[derive(Default)]
pub(super) struct State {
    token: Option<HeldToken>,
    backoff: Option<Backoff>,
    /// The tokens that single endpoints refused, by URL.
    refused: HashMap<String, Refused>,
}

struct HeldToken {
    tokens: Tokens,
    account: Account,
    serial: u64,
}

struct Backoff {
    until: u64,
    error: ClientCredentialsError,
}

/// The status of the token.
pub(super) enum TokenStatus {
    /// Use it.
    Fresh(Authorization),
    /// Use it, and request another one in the background.
    Expiring(Authorization),
    /// There is no token, and none can be requested now.
    Failed(ClientCredentialsError),
    /// Request a token.
    Missing,
}

/// Why there is no token.
#[derive(Clone, Debug)]
pub(super) enum ClientCredentialsError {
    /// Try again later.
    Unreachable {
        issuer: String,
        reason: Text,
        retry_after: Option<Duration>,
    },
    /// The secret cannot be read now.
    Vault(VaultError),
    /// The configuration or the client's registration must be changed.
    NotGranted {
        reason: Text,
        explanation: Option<Box<Explanation>>,
    },
}

impl State {
    pub(super) fn status(&self, server: &EndpointUrl, now: u64) -> TokenStatus {
        let backoff = self.backoff.as_ref().filter(|backoff| now < backoff.until);
        if let Some(token) = self.usable_by(server, now) {
            return match token.tokens.needs_refresh(now) && backoff.is_none() {
                true => TokenStatus::Expiring(token.authorization()),
                false => TokenStatus::Fresh(token.authorization()),
            };
        }
        if self
            .refused_by(server)
            .is_some_and(|known| known.is_paused(now))
        {
            return TokenStatus::Failed(ClientCredentialsError::keeps_refusing());
        }
        match backoff {
            Some(backoff) if backoff.error.is_persistent() => {
                TokenStatus::Failed(backoff.error.clone())
            }
            Some(_) | None => TokenStatus::Missing,
        }
    }

    /// Returns true if another token should be requested while this one is valid.
    pub(super) fn needs_refresh(&self, now: u64) -> bool {
        let is_backing_off = self
            .backoff
            .as_ref()
            .is_some_and(|backoff| now < backoff.until);
        let token = self.token.as_ref();
        token.is_some_and(|token| token.tokens.needs_refresh(now)) && !is_backing_off
    }

    fn refused_by(&self, server: &EndpointUrl) -> Option<&Refused> {
        self.refused.get(server.as_str())
    }

    fn usable_by(&self, server: &EndpointUrl, now: u64) -> Option<&HeldToken> {
        self.token.as_ref().filter(|token| {
            let known = self.refused_by(server);
            !token.tokens.has_expired(now) && known.is_none_or(|known| !known.covers(token.serial))
        })
    }

    pub(super) fn accept(&mut self, tokens: Tokens, account: Account) -> Authorization {
        self.backoff = None;
        let token = HeldToken {
            tokens,
            account,
            serial: next_serial(),
        };
        self.token.insert(token).authorization()
    }

    /// Records an error, and starts its backoff.
    pub(super) fn record_error(&mut self, error: &ClientCredentialsError, now: u64) {
        let wait = match &error {
            ClientCredentialsError::Unreachable { retry_after, .. } => {
                retry_after.map_or(AFTER_UNREACHABLE, |wait| wait.as_secs())
            }
            ClientCredentialsError::Vault(_) => AFTER_UNREACHABLE,
            ClientCredentialsError::NotGranted { .. } => AFTER_REFUSAL,
        };
        self.backoff = Some(Backoff {
            until: now + wait,
            error: error.clone(),
        });
    }

    /// Records that the server refused the token. Another one is requested once.
    pub(super) fn refused(&mut self, server: &EndpointUrl, serial: u64, now: u64) {
        if let Some(token) = self.token.as_ref().filter(|token| token.serial == serial) {
            let known = self.refused.entry(server.as_str().to_owned());
            known.or_default().record(serial, &token.tokens, now);
        }
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.token.as_ref().map(|token| token.account.clone())
    }
}

impl HeldToken {
    fn authorization(&self) -> Authorization {
        Authorization {
            header: header(&self.tokens),
            account: self.account.key.clone(),
            serial: self.serial,
        }
    }
}

impl ClientCredentialsError {
    /// Returns the error for a server that refuses every token.
    pub(super) fn keeps_refusing() -> Self {
        Self::NotGranted {
            reason: text!(ClientCredentialsTokensRefused),
            explanation: None,
        }
    }

    /// Returns true if a retry would fail for now. The network may be back at any time.
    fn is_persistent(&self) -> bool {
        match self {
            Self::NotGranted { .. } => true,
            Self::Vault(_) => false,
            Self::Unreachable { retry_after, .. } => retry_after.is_some(),
        }
    }

    pub(super) fn for_server(self, target: &Target) -> AuthorizationError {
        let server = target.url().shown().to_owned();
        match self {
            Self::Unreachable {
                issuer,
                reason,
                retry_after,
            } => AuthorizationError::Unreachable {
                server,
                issuer,
                reason,
                retry_after,
            },
            Self::Vault(error) => AuthorizationError::Vault(error),
            Self::NotGranted {
                reason,
                explanation,
            } => AuthorizationError::NotGranted {
                server,
                reason,
                explanation,
            },
        }
    }
}

/// Returns the error for a wrong configuration.
pub(super) fn not_granted(reason: impl Into<Arg>) -> ClientCredentialsError {
    ClientCredentialsError::NotGranted {
        reason: text!(ClientCredentialsRejected {
            reason: reason.into()
        }),
        explanation: None,
    }
}
