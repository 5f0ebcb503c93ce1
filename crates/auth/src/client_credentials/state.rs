//! The token of one program at one server, and whether to ask for another. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use model::EndpointUrl;

use crate::account::Account;
use crate::error::AuthorizationError;
use crate::explanation::Explanation;
use crate::identity::{Authorization, Target};
use crate::token::Tokens;
use crate::token::grant_entry::{header, next_serial};
use crate::token::pause::{AFTER_FAULT, AFTER_REFUSAL};
use crate::token::refused::Refused;
use crate::vault::VaultError;

/// What is held, and until when nobody asks for another.
#[derive(Default)]
pub(super) struct State {
    held: Option<Held>,
    hold: Option<Hold>,
    /// What single endpoints refused, by URL.
    refused: HashMap<String, Refused>,
}

struct Held {
    tokens: Tokens,
    account: Account,
    serial: u64,
}

struct Hold {
    until: u64,
    failure: Failure,
}

/// What a look shows.
pub(super) enum Look {
    /// Use this.
    Fresh(Authorization),
    /// Use this, and ask for another one beside it.
    Ageing(Authorization),
    /// Nothing will do now.
    Failed(Failure),
    /// Ask for a token.
    Due,
}

/// Why there is no token.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Try again later.
    Unreachable {
        issuer: String,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Its secret cannot be read, for now.
    Vault(VaultError),
    /// Somebody has to do something.
    NotGranted {
        reason: String,
        hint: &'static str,
        explanation: Option<Box<Explanation>>,
    },
}

impl State {
    pub(super) fn look(&self, server: &EndpointUrl, now: u64) -> Look {
        let hold = self.hold.as_ref().filter(|hold| now < hold.until);
        if let Some(held) = self.usable_by(server, now) {
            return match held.tokens.is_due(now) && hold.is_none() {
                true => Look::Ageing(held.authorization()),
                false => Look::Fresh(held.authorization()),
            };
        }
        if self
            .refused_by(server)
            .is_some_and(|known| known.is_paused(now))
        {
            return Look::Failed(Failure::keeps_refusing());
        }
        match hold {
            Some(hold) if hold.failure.lasts() => Look::Failed(hold.failure.clone()),
            Some(_) | None => Look::Due,
        }
    }

    /// Whether another token should be asked for while this one can be used.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let is_held = self.hold.as_ref().is_some_and(|hold| now < hold.until);
        let held = self.held.as_ref();
        held.is_some_and(|held| held.tokens.is_due(now)) && !is_held
    }

    fn refused_by(&self, server: &EndpointUrl) -> Option<&Refused> {
        self.refused.get(server.as_str())
    }

    fn usable_by(&self, server: &EndpointUrl, now: u64) -> Option<&Held> {
        self.held.as_ref().filter(|held| {
            let known = self.refused_by(server);
            !held.tokens.is_over(now) && known.is_none_or(|known| !known.covers(held.serial))
        })
    }

    pub(super) fn accept(&mut self, tokens: Tokens, account: Account) -> Authorization {
        self.hold = None;
        let held = Held {
            tokens,
            account,
            serial: next_serial(),
        };
        self.held.insert(held).authorization()
    }

    /// Takes a failure.
    pub(super) fn suffer(&mut self, failure: &Failure, now: u64) {
        let wait = match &failure {
            Failure::Unreachable { retry_after, .. } => {
                retry_after.map_or(AFTER_FAULT, |wait| wait.as_secs())
            }
            Failure::Vault(_) => AFTER_FAULT,
            Failure::NotGranted { .. } => AFTER_REFUSAL,
        };
        self.hold = Some(Hold {
            until: now + wait,
            failure: failure.clone(),
        });
    }

    /// The server refused a token: another one is asked for, once.
    pub(super) fn refused(&mut self, server: &EndpointUrl, serial: u64, now: u64) {
        if let Some(held) = self.held.as_ref().filter(|held| held.serial == serial) {
            let known = self.refused.entry(server.as_str().to_owned());
            known.or_default().record(serial, &held.tokens, now);
        }
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.held.as_ref().map(|held| held.account.clone())
    }
}

impl Held {
    fn authorization(&self) -> Authorization {
        Authorization {
            header: header(&self.tokens),
            account: self.account.key.clone(),
            serial: self.serial,
        }
    }
}

impl Failure {
    /// The server takes no token.
    pub(super) fn keeps_refusing() -> Self {
        Self::NotGranted {
            reason: "the server refuses the tokens that this program is given".to_owned(),
            hint: "check the scopes and the resource of this server, and ask who runs it to give the client access",
            explanation: None,
        }
    }

    /// Whether it is worth nothing to ask again at once. A network may be back at any time.
    fn lasts(&self) -> bool {
        match self {
            Self::NotGranted { .. } => true,
            Self::Vault(_) => false,
            Self::Unreachable { retry_after, .. } => retry_after.is_some(),
        }
    }

    pub(super) fn about(self, target: &Target) -> AuthorizationError {
        let server = target.url.shown().to_owned();
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
                hint,
                explanation,
            } => AuthorizationError::NotGranted {
                server,
                reason,
                hint,
                explanation,
            },
        }
    }
}
