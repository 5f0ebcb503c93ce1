//! The place of one grant: its tokens, whether they can be used, and what the last attempt to
//! renew them came to. No I/O.
//!
//! Invariant: what one server refuses, or wants of its tokens, changes nothing for the other
//! servers of the grant.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use model::{EndpointUrl, Issuer};

use super::endpoint::EndpointError;
use super::grant::{Grant, ObtainedBy, Tokens};
use super::oauth_error::Refusal;
use super::pause::{AFTER_BUSY, AFTER_FAULT, AFTER_REFUSAL, AFTER_RULE};
use super::refused::Refused;
use crate::error::SignInReason;
use crate::explanation::Explanation;
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
    pub(crate) flight: Arc<tokio::sync::Mutex<()>>,
}

struct State {
    grant: Grant,
    header: HeaderValue,
    serial: u64,
    /// The attempts to refresh for all servers of the grant.
    attempts: Attempts,
    /// The claims that the authorization server wants, whichever server the token is for.
    claims: Option<String>,
    /// What single servers think of the tokens, by URL.
    servers: HashMap<String, Opinion>,
    gone: bool,
}

/// What one server thinks of the tokens.
#[derive(Default)]
struct Opinion {
    refused: Refused,
    /// The claims that its next token has to carry.
    claims: Option<String>,
    /// The attempts to refresh with those claims.
    attempts: Attempts,
}

/// Attempts to refresh that ask for the same.
#[derive(Default)]
struct Attempts {
    /// How many have ended.
    ended: u64,
    /// What the last one came to, if it failed.
    hold: Option<Hold>,
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

impl Failure {
    /// The failure of a grant that was obtained so. The refusal of one from a device code may be
    /// about that flow alone, so that a sign-in with a browser is asked for.
    fn of_grant(self, obtained_by: ObtainedBy) -> Self {
        let reason = SignInReason::DeviceCodeRefused;
        match (obtained_by, self) {
            (ObtainedBy::DeviceCode, Self::SignInNeeded(_, explanation)) => {
                Self::SignInNeeded(reason, explanation)
            }
            (ObtainedBy::DeviceCode, Self::Forbidden(explanation)) => {
                Self::SignInNeeded(reason, Some(explanation))
            }
            (_, failure) => failure,
        }
    }
}

/// What a look at the slot shows one of its servers.
pub(crate) enum Look {
    /// Use this.
    Fresh(Authorization),
    /// Use this, and refresh beside it.
    Ageing(Authorization),
    /// Nothing will do now.
    Failed(Failure),
    /// Renew. `attempts` is how many attempts had ended at this look.
    Due { attempts: u64 },
}

/// What a refresh asks for.
pub(crate) enum Refresh {
    /// A token for all servers of the grant, with the claims that the authorization server wants.
    Shared { claims: Option<String> },
    /// A token with the claims that the server at this URL wants.
    ForServer { server: String, claims: String },
}

impl Refresh {
    /// The claims to ask for.
    pub(crate) fn claims(&self) -> Option<String> {
        match self {
            Self::Shared { claims } => claims.clone(),
            Self::ForServer { claims, .. } => Some(claims.clone()),
        }
    }
}

impl Slot {
    pub(crate) fn new(grant: Grant) -> Self {
        Self {
            state: Mutex::new(State::new(grant)),
            flight: Arc::default(),
        }
    }

    /// The grant as it is now.
    pub(crate) fn grant(&self) -> Grant {
        self.state().grant.clone()
    }

    /// Looks into the grant without copying its tokens. `look` asks nothing of the grant store, whose
    /// lock is always taken first.
    pub(crate) fn with_grant<T>(&self, look: impl FnOnce(&Grant) -> T) -> T {
        look(&self.state().grant)
    }

    /// The authorization server that the grant is from.
    pub(crate) fn issuer(&self) -> Issuer {
        self.state().grant.key.issuer.clone()
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

    /// The claims that the next sign-in for the server has to ask for: its own, else those that
    /// the authorization server wants for all.
    pub(crate) fn claims(&self, server: &EndpointUrl) -> Option<String> {
        let state = self.state();
        let own = state.claims_of(server.as_str());
        own.or(state.claims.as_ref()).cloned()
    }

    pub(crate) fn look(&self, server: &EndpointUrl, now: u64) -> Look {
        self.state().look(server.as_str(), now)
    }

    /// Returns the token that `server` can be sent now, if there is one.
    pub(crate) fn usable_at(&self, server: &EndpointUrl, now: u64) -> Option<Authorization> {
        match self.look(server, now) {
            Look::Fresh(authorization) | Look::Ageing(authorization) => Some(authorization),
            Look::Failed(_) | Look::Due { .. } => None,
        }
    }

    /// As [`look`](Self::look), after an attempt that ended while the caller waited: its outcome
    /// is the caller's too.
    pub(crate) fn look_after(&self, server: &EndpointUrl, now: u64, seen: u64) -> Look {
        let state = self.state();
        match state.look(server.as_str(), now) {
            Look::Due { attempts } if attempts != seen => {
                match &state.attempts_for(server.as_str()).hold {
                    Some(hold) => Look::Failed(hold.failure.clone()),
                    None => Look::Due { attempts },
                }
            }
            look @ (Look::Fresh(_) | Look::Ageing(_) | Look::Failed(_) | Look::Due { .. }) => look,
        }
    }

    /// Whether the grant came from a device code and was refused when it was refreshed last.
    pub(crate) fn is_device_code_refused(&self) -> bool {
        let state = self.state();
        let shared = std::iter::once(&state.attempts);
        let own = state.servers.values().map(|opinion| &opinion.attempts);
        let mut holds = shared
            .chain(own)
            .filter_map(|attempts| attempts.hold.as_ref());
        holds.any(|hold| {
            matches!(
                hold.failure,
                Failure::SignInNeeded(SignInReason::DeviceCodeRefused, _)
            )
        })
    }

    /// What to ask the token endpoint for where the server has no usable token.
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

    /// What to ask the token endpoint for while the token is usable. Returns `None` if it need not
    /// be refreshed, or if the last attempt failed a moment ago.
    pub(crate) fn refresh_beside(&self, now: u64) -> Option<Refresh> {
        let state = self.state();
        (!state.gone && state.is_due(now)).then(|| state.shared_refresh())
    }

    /// Whether only a person can bring another token, whatever single servers think of this one.
    pub(crate) fn has_ended(&self, now: u64) -> bool {
        let state = self.state();
        let needs_person = state.attempts.hold.as_ref().is_some_and(|hold| {
            matches!(
                hold.failure,
                Failure::SignInNeeded(..) | Failure::RegistrationLost
            )
        });
        let tokens = &state.grant.tokens;
        tokens.is_over(now) && (tokens.refresh.is_none() || needs_person)
    }

    /// Returns the number of the access token.
    pub(crate) fn serial(&self) -> u64 {
        self.state().serial
    }

    /// Takes note that the server refused an access token, unless there is a newer one.
    /// `claims` is what the next one has to carry, if the server said that.
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
        let opinion = servers.entry(server.as_str().to_owned()).or_default();
        if opinion.refused.record(serial, &grant.tokens, now) && claims.is_some() {
            opinion.claims = claims;
        }
    }

    /// Takes the outcome of a refresh; says whether there are new tokens to keep.
    pub(crate) fn settle(
        &self,
        refresh: &Refresh,
        outcome: Result<Tokens, EndpointError>,
        now: u64,
    ) -> Settled {
        let mut state = self.state();
        match outcome {
            Ok(tokens) => {
                state.accept(refresh, tokens);
                Settled::Renewed
            }
            Err(error) => state.suffer(refresh, error, now),
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

impl Attempts {
    /// The failure that stands in the way of another attempt.
    fn in_force(&self, now: u64, usable: bool) -> Option<&Failure> {
        let in_force = |hold: &&Hold| now < hold.until && (usable || !hold.only_while_usable);
        self.hold
            .as_ref()
            .filter(in_force)
            .map(|hold| &hold.failure)
    }

    fn end(&mut self, hold: Option<Hold>) {
        self.ended += 1;
        self.hold = hold;
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
            gone: false,
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

    /// The attempts that a refresh for this server is one of.
    fn attempts_for(&self, server: &str) -> &Attempts {
        match self.servers.get(server) {
            Some(opinion) if opinion.claims.is_some() => &opinion.attempts,
            Some(_) | None => &self.attempts,
        }
    }

    /// Whether the token should be refreshed while it can be used.
    fn is_due(&self, now: u64) -> bool {
        let tokens = &self.grant.tokens;
        tokens.refresh.is_some()
            && tokens.is_due(now)
            && self.attempts.in_force(now, true).is_none()
    }

    fn look(&self, server: &str, now: u64) -> Look {
        let tokens = &self.grant.tokens;
        if self.gone {
            return Look::Failed(Failure::SignInNeeded(SignInReason::NotSignedIn, None));
        }
        let opinion = self.servers.get(server);
        let refused = opinion.is_some_and(|opinion| opinion.refused.covers(self.serial));
        if !refused && !tokens.is_over(now) {
            return match self.is_due(now) {
                true => Look::Ageing(self.authorization()),
                false => Look::Fresh(self.authorization()),
            };
        }
        if opinion.is_some_and(|opinion| opinion.refused.is_paused(now)) {
            let reason = SignInReason::KeepsRefusing;
            return Look::Failed(Failure::SignInNeeded(reason, None));
        }
        if tokens.refresh.is_none() {
            let ended = match refused {
                true => SignInReason::Revoked,
                false => SignInReason::Expired,
            };
            let known = self.attempts.hold.as_ref().map(|hold| hold.failure.clone());
            return Look::Failed(known.unwrap_or(Failure::SignInNeeded(ended, None)));
        }
        let attempts = self.attempts_for(server);
        let shared = || self.attempts.in_force(now, false);
        match attempts.in_force(now, false).or_else(shared) {
            Some(failure) => Look::Failed(failure.clone()),
            None => Look::Due {
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
        // Left out means unchanged (RFC 6749 section 5.1).
        let granted = self.grant.tokens.scopes.take();
        tokens.scopes = tokens.scopes.or(granted);
        self.header = header(&tokens);
        self.serial = next_serial();
        self.grant.tokens = tokens;
        self.claims = None;
        self.attempts.end(None);
        if let Refresh::ForServer { server, .. } = refresh {
            let opinion = self.servers.entry(server.clone()).or_default();
            opinion.claims = None;
            opinion.attempts.end(None);
        }
    }

    fn suffer(&mut self, refresh: &Refresh, error: EndpointError, now: u64) -> Settled {
        let (until, failure, only_while_usable) = match error {
            EndpointError::Refused(refusal) => return self.obey(refresh, &refusal, now),
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
            EndpointError::Fault(fault) => {
                let failure = Failure::Unreachable {
                    reason: fault.to_string(),
                    retry_after: None,
                };
                (now + AFTER_FAULT, failure, true)
            }
        };
        let hold = Hold {
            until,
            failure,
            only_while_usable,
        };
        self.hold_back(refresh, hold, None);
        Settled::Unchanged
    }

    /// Ends an attempt that failed: for all servers, or for the one whose claims it asked for.
    /// `claims` is what the authorization server wants to be asked for next.
    fn hold_back(&mut self, refresh: &Refresh, hold: Hold, claims: Option<String>) {
        let (attempts, wanted) = match refresh {
            Refresh::Shared { .. } => (&mut self.attempts, &mut self.claims),
            Refresh::ForServer { server, .. } => {
                let opinion = self.servers.entry(server.clone()).or_default();
                (&mut opinion.attempts, &mut opinion.claims)
            }
        };
        attempts.end(Some(hold));
        if claims.is_some() {
            *wanted = claims;
        }
    }

    /// What a refusal means. Numbers and words are not looked at.
    fn obey(&mut self, refresh: &Refresh, refusal: &Refusal, now: u64) -> Settled {
        let (failure, mut settled) = self.meaning(refusal);
        let for_all = match refresh {
            Refresh::Shared { .. } => true,
            // Claims that a server made up may be refused by any error; a plain refresh tells
            // whether the grant is dead. Only what is said of the refresh token holds for it too.
            Refresh::ForServer { .. } => refusal.is_of_the_refresh_token(),
        };
        match settled {
            Settled::Revoked if for_all => self.grant.tokens.refresh = None,
            Settled::Revoked => settled = Settled::Unchanged,
            Settled::RegistrationLost | Settled::Unchanged | Settled::Renewed => {}
        }
        let rest = match failure {
            Failure::Forbidden(_) => AFTER_RULE,
            _ => AFTER_REFUSAL,
        };
        let hold = Hold {
            until: now + rest,
            failure: failure.of_grant(self.grant.obtained_by),
            only_while_usable: false,
        };
        let shared = self.shared_refresh();
        let counts_for = if for_all { &shared } else { refresh };
        self.hold_back(counts_for, hold, refusal.claims.clone());
        settled
    }

    fn meaning(&self, refusal: &Refusal) -> (Failure, Settled) {
        let key = &self.grant.key;
        let explanation = Explanation::of(refusal, &key.issuer, &key.client_id);
        match refusal.error.as_str() {
            "invalid_grant" if refusal.is_of_a_dead_grant() => {
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
        }
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
