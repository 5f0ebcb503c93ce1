//! The token of one program at one server, and whether to ask for another. No I/O.

use std::time::Duration;

use crate::account::Account;
use crate::error::AuthorizationError;
use crate::explanation::Explanation;
use crate::identity::{Authorization, Target};
use crate::token::Tokens;
use crate::token::pause::{AFTER_FAULT, AFTER_REFUSAL, REFUSED_TWICE};
use crate::token::slot::{header, next_serial};

/// What is held, and until when nobody asks for another.
#[derive(Default)]
pub(super) struct State {
    held: Option<Held>,
    hold: Option<Hold>,
    refused_at: Option<u64>,
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
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Somebody has to do something.
    NotGranted {
        reason: String,
        hint: &'static str,
        explanation: Option<Box<Explanation>>,
    },
}

impl State {
    pub(super) fn look(&self, now: u64) -> Look {
        let usable = self.held.as_ref().filter(|held| !held.tokens.is_over(now));
        if let Some(held) = usable.filter(|held| !held.tokens.is_due(now)) {
            return Look::Fresh(held.authorization());
        }
        match (&self.hold, usable) {
            (Some(hold), Some(held)) if now < hold.until => Look::Fresh(held.authorization()),
            (Some(hold), None) if now < hold.until && hold.failure.lasts() => {
                Look::Failed(hold.failure.clone())
            }
            (Some(_) | None, _) => Look::Due,
        }
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

    /// Takes a failure; the token from before does as long as it lasts.
    pub(super) fn suffer(&mut self, failure: Failure, now: u64) -> Result<Authorization, Failure> {
        let wait = match &failure {
            Failure::Unreachable { retry_after, .. } => {
                retry_after.map_or(AFTER_FAULT, |wait| wait.as_secs())
            }
            Failure::NotGranted { .. } => AFTER_REFUSAL,
        };
        self.hold = Some(Hold {
            until: now + wait,
            failure: failure.clone(),
        });
        let usable = self.held.as_ref().filter(|held| !held.tokens.is_over(now));
        usable.map(Held::authorization).ok_or(failure)
    }

    /// The server refused a token: another one is asked for, once.
    pub(super) fn refused(&mut self, serial: u64, now: u64) {
        if self.held.as_ref().is_none_or(|held| held.serial != serial) {
            return;
        }
        self.held = None;
        let before = self.refused_at.replace(now);
        if before.is_some_and(|before| now.saturating_sub(before) < REFUSED_TWICE) {
            self.hold = Some(Hold {
                until: now + AFTER_REFUSAL,
                failure: Failure::keeps_refusing(),
            });
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
            Self::Unreachable { retry_after, .. } => retry_after.is_some(),
        }
    }

    pub(super) fn about(self, target: &Target) -> AuthorizationError {
        let server = target.url.shown().to_owned();
        match self {
            Self::Unreachable {
                reason,
                retry_after,
            } => AuthorizationError::Unreachable {
                server,
                reason,
                retry_after,
            },
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
