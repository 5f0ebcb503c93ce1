//! The place of one grant: its tokens, whether they can be used, and what the last attempt to
//! renew them came to. No I/O.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;

use super::endpoint::EndpointError;
use super::grant::{Grant, Tokens};
use super::pause::{AFTER_BUSY, AFTER_FAULT, AFTER_REFUSAL, AFTER_RULE, REFUSED_TWICE};
use super::refusal::Refusal;
use crate::error::SignInReason;
use crate::explanation::Explanation;
use crate::http::Fault;
use crate::identity::Authorization;

/// The number of the next access token that this process sees.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A number for an access token that no other one has.
pub(crate) fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// The place of one grant.
pub(crate) struct Slot {
    state: Mutex<State>,
    /// Held by whoever talks to the token endpoint about this grant, or changes its record.
    pub(crate) flight: tokio::sync::Mutex<()>,
}

struct State {
    grant: Grant,
    header: HeaderValue,
    serial: u64,
    access: Access,
    /// How many attempts to renew have ended.
    attempts: u64,
    hold: Option<Hold>,
    refused_at: Option<u64>,
    /// The claims that the next token has to carry.
    claims: Option<String>,
    gone: bool,
}

/// What the server that the access token is for thinks of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    NotRefused,
    Refused,
}

/// Why, and until when, the token endpoint is left alone.
struct Hold {
    until: u64,
    failure: Failure,
    /// Whether it ends as soon as there is no usable token any more.
    only_while_usable: bool,
}

/// Why there is no usable token.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    SignInNeeded(SignInReason, Option<Box<Explanation>>),
    Unreachable {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// A rule forbids it here and now.
    Forbidden(Box<Explanation>),
    Misconfigured {
        reason: String,
        explanation: Option<Box<Explanation>>,
    },
    /// The token is for a resource of Microsoft's own, which the server may not have.
    ForeignAudience {
        audience: String,
        owner: &'static str,
    },
    /// This program's registration is not known any more; it has to be made anew.
    RegistrationLost,
}

/// What a look at the slot shows.
pub(crate) enum Look {
    /// Use this.
    Fresh(Authorization),
    /// Nothing will do now.
    Failed(Failure),
    /// Renew. `attempts` is how many attempts had ended at this look.
    Due { attempts: u64 },
}

impl Slot {
    pub(crate) fn new(grant: Grant) -> Self {
        Self {
            state: Mutex::new(State::new(grant)),
            flight: tokio::sync::Mutex::new(()),
        }
    }

    /// The grant as it is now.
    pub(crate) fn grant(&self) -> Grant {
        self.state().grant.clone()
    }

    /// Looks into the grant without copying its tokens.
    pub(crate) fn with_grant<T>(&self, look: impl FnOnce(&Grant) -> T) -> T {
        look(&self.state().grant)
    }

    /// Puts another sign-in in this place.
    pub(crate) fn replace(&self, grant: Grant) {
        *self.state() = State::new(grant);
    }

    pub(crate) fn set_targets(&self, targets: BTreeSet<String>) {
        self.state().grant.targets = targets;
    }

    /// Marks it as signed out, for those who still hold it.
    pub(crate) fn leave(&self) {
        self.state().gone = true;
    }

    /// The claims that the next token has to carry.
    pub(crate) fn claims(&self) -> Option<String> {
        self.state().claims.clone()
    }

    pub(crate) fn look(&self, now: u64) -> Look {
        self.state().look(now)
    }

    /// As [`look`](Self::look), after an attempt that ended while the caller waited: its outcome
    /// is the caller's too.
    pub(crate) fn look_after(&self, now: u64, seen: u64) -> Look {
        let state = self.state();
        match state.look(now) {
            Look::Due { attempts } if attempts != seen => match &state.hold {
                Some(hold) => Look::Failed(hold.failure.clone()),
                None => Look::Due { attempts },
            },
            look @ (Look::Fresh(_) | Look::Failed(_) | Look::Due { .. }) => look,
        }
    }

    /// The access token, if it can be used at all, due or not.
    pub(crate) fn usable(&self, now: u64) -> Option<Authorization> {
        let state = self.state();
        state.is_usable(now).then(|| state.authorization())
    }

    /// Returns the number of the access token.
    pub(crate) fn serial(&self) -> u64 {
        self.state().serial
    }

    /// Takes note that the server refused an access token, unless there is a newer one.
    /// `claims` is what the next one has to carry, if the server said that.
    pub(crate) fn refused(&self, serial: u64, now: u64, claims: Option<String>) {
        let mut state = self.state();
        if state.serial != serial || state.access == Access::Refused {
            return;
        }
        if claims.is_some() {
            state.claims = claims;
        }
        state.access = Access::Refused;
        let again = state
            .refused_at
            .replace(now)
            .is_some_and(|before| now.saturating_sub(before) < REFUSED_TWICE);
        if again {
            state.hold = Some(Hold {
                until: now + AFTER_REFUSAL,
                failure: Failure::SignInNeeded(SignInReason::KeepsRefusing, None),
                only_while_usable: false,
            });
        }
    }

    /// Takes the outcome of an attempt to renew; says whether there are new tokens to keep.
    pub(crate) fn settle(&self, outcome: Result<Tokens, EndpointError>, now: u64) -> Settled {
        let mut state = self.state();
        state.attempts += 1;
        match outcome {
            Ok(tokens) => {
                state.accept(tokens);
                Settled::Renewed
            }
            Err(error) => state.suffer(error, now),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt to renew changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There are new tokens to keep.
    Renewed,
    /// The refresh token is dead and must be forgotten.
    Revoked,
    /// The registration is dead and must be forgotten.
    RegistrationLost,
    /// Nothing.
    Unchanged,
}

impl State {
    fn new(grant: Grant) -> Self {
        Self {
            header: header(&grant.tokens),
            serial: next_serial(),
            access: Access::NotRefused,
            attempts: 0,
            hold: None,
            refused_at: None,
            claims: None,
            gone: false,
            grant,
        }
    }

    fn is_usable(&self, now: u64) -> bool {
        !self.gone && self.access == Access::NotRefused && !self.grant.tokens.is_over(now)
    }

    fn look(&self, now: u64) -> Look {
        let tokens = &self.grant.tokens;
        let usable = self.is_usable(now);
        let fallback = |failure: Failure| {
            if usable {
                Look::Fresh(self.authorization())
            } else {
                Look::Failed(failure)
            }
        };
        if self.gone {
            return Look::Failed(Failure::SignInNeeded(SignInReason::NotSignedIn, None));
        }
        if usable && !tokens.is_due(now) {
            return Look::Fresh(self.authorization());
        }
        if tokens.refresh.is_none() {
            let ended = match self.access {
                Access::Refused => SignInReason::Revoked,
                Access::NotRefused => SignInReason::Expired,
            };
            let known = self.hold.as_ref().map(|hold| hold.failure.clone());
            return fallback(known.unwrap_or(Failure::SignInNeeded(ended, None)));
        }
        match &self.hold {
            Some(hold) if now < hold.until && (usable || !hold.only_while_usable) => {
                fallback(hold.failure.clone())
            }
            Some(_) | None => Look::Due {
                attempts: self.attempts,
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

    fn accept(&mut self, mut tokens: Tokens) {
        // Left out means unchanged (RFC 6749 section 5.1).
        let granted = self.grant.tokens.scopes.take();
        tokens.scopes = tokens.scopes.or(granted);
        self.header = header(&tokens);
        self.serial = next_serial();
        self.access = Access::NotRefused;
        self.hold = None;
        self.claims = None;
        self.grant.tokens = tokens;
    }

    fn suffer(&mut self, error: EndpointError, now: u64) -> Settled {
        let (until, failure, only_while_usable) = match error {
            EndpointError::Refused(refusal) => return self.obey(&refusal, now),
            EndpointError::Busy {
                reason,
                retry_after,
            } => {
                let wait = retry_after.map_or(AFTER_BUSY, |wait| wait.as_secs());
                let failure = Failure::Unreachable {
                    reason,
                    retry_after: Some(Duration::from_secs(wait)),
                };
                (now + wait, failure, false)
            }
            EndpointError::Fault(
                Fault::Unreachable(reason) | Fault::Untrusted(reason) | Fault::Inside(reason),
            ) => {
                let failure = Failure::Unreachable {
                    reason,
                    retry_after: None,
                };
                (now + AFTER_FAULT, failure, true)
            }
        };
        self.hold = Some(Hold {
            until,
            failure,
            only_while_usable,
        });
        Settled::Unchanged
    }

    /// What a refusal means. Numbers and words are not looked at.
    fn obey(&mut self, refusal: &Refusal, now: u64) -> Settled {
        if refusal.claims.is_some() {
            self.claims.clone_from(&refusal.claims);
        }
        let key = &self.grant.key;
        let explanation = Explanation::of(refusal, &key.issuer, &key.client_id);
        let (failure, settled) = match refusal.error.as_str() {
            "invalid_grant" if refusal.is_of_a_dead_grant() => {
                self.grant.tokens.refresh = None;
                let revoked = Failure::SignInNeeded(SignInReason::Revoked, Some(explanation));
                (revoked, Settled::Revoked)
            }
            "invalid_grant" if refusal.is_a_rule() => {
                (Failure::Forbidden(explanation), Settled::Unchanged)
            }
            "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
                let reason = SignInReason::InteractionRequired;
                let asked = Failure::SignInNeeded(reason, Some(explanation));
                (asked, Settled::Unchanged)
            }
            "invalid_client" | "unauthorized_client" if self.grant.client.is_registered() => {
                (Failure::RegistrationLost, Settled::RegistrationLost)
            }
            "temporarily_unavailable" | "server_error" => {
                let failure = Failure::Unreachable {
                    reason: refusal.to_string(),
                    retry_after: Some(Duration::from_secs(AFTER_REFUSAL)),
                };
                (failure, Settled::Unchanged)
            }
            _ => {
                let reason = explanation.what.to_string();
                let failure = Failure::Misconfigured {
                    reason,
                    explanation: Some(explanation),
                };
                (failure, Settled::Unchanged)
            }
        };
        let rest = match failure {
            Failure::Forbidden(_) => AFTER_RULE,
            _ => AFTER_REFUSAL,
        };
        self.hold = Some(Hold {
            until: now + rest,
            failure,
            only_while_usable: false,
        });
        settled
    }
}

pub(crate) fn header(tokens: &Tokens) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", tokens.access.expose()))
        // Tokens come from the token endpoint, which lets no other characters in, and from the
        // vault, which holds what came from there.
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
