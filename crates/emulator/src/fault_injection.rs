//! What makes the emulator behave as Entra does on a bad day: looked at while a request is
//! served, changed by [`crate::Admin`].
//!
//! Owns: errors to answer with, what policies demand of people, who was signed out, throttling
//! and outages. Does not own: the keys and the clock, which have rollover and offset of their
//! own; who may change anything (see [`crate::admin`]). Nothing of it outlives the process.

mod rule;
mod user_state;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::endpoint::{Endpoint, RequestKind};
use crate::fault::Fault;
use crate::session::Session;
pub(crate) use rule::{DisruptionRule, InjectedError, Rule, RuleTarget};
pub use rule::{Requirement, Reuse, Times};
use user_state::{Consents, Revocations, TokenFamilies};

/// The switchboard.
#[derive(Default)]
pub(crate) struct FaultRules(Mutex<State>);

#[derive(Default)]
struct State {
    rules: Vec<(u32, Rule)>,
    last_id: u32,
    consents: Consents,
    revocations: Revocations,
    families: TokenFamilies,
    /// The ids of sessions with a second factor: tokens name the session, and not the factor.
    second_factors: HashSet<Uuid>,
}

/// A request for tokens, or for a code, as far as switches can tell one from another.
pub(crate) struct Attempt<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) client: Uuid,
    /// What the tokens are for.
    pub(crate) resources: Vec<Uuid>,
    /// Of the person, where one is known.
    pub(crate) session: Option<&'a Session>,
}

/// What stands in the way of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disruption {
    /// Too many requests; in seconds, when to come back.
    Throttled(u32),
    /// Nothing works.
    Outage,
}

impl FaultRules {
    /// Lets a request through, or says what it is answered with. To be called before the grant is
    /// used up, so that a client may try again.
    ///
    /// # Errors
    /// With an error that was switched on; and, but for the authorization endpoint, which has
    /// pages for it, with whatever a policy demands of the person.
    pub(crate) fn check(&self, attempt: &Attempt<'_>) -> Result<(), Fault> {
        let mut state = self.state();
        let revoked = attempt.session.filter(|s| state.revocations.has_ended(s));
        if revoked.is_some() {
            return Err(Fault::listed(50_173, attempt.kind));
        }
        if let Some(row) = state.injected_error(attempt) {
            return Err(Fault::Listed(row, attempt.kind));
        }
        match (attempt.kind, state.unmet_requirement(attempt)) {
            (RequestKind::Authorize | RequestKind::Silent, _) | (_, None) => Ok(()),
            (
                RequestKind::Token | RequestKind::OnBehalfOf | RequestKind::DeviceCode,
                Some(requirement),
            ) => Err(Fault::listed(requirement.number(), attempt.kind)),
        }
    }

    /// What a policy demands of the person before anything else.
    pub(crate) fn unmet_requirement(&self, attempt: &Attempt<'_>) -> Option<Requirement> {
        self.state().unmet_requirement(attempt)
    }

    /// What stands in the way of a request to `endpoint`, or to none of those with a name.
    pub(crate) fn disruption(&self, endpoint: Option<Endpoint>) -> Option<Disruption> {
        self.state().first(|rule| match rule {
            Rule::Disrupt(rule) => rule.applies_to(endpoint).then_some(rule.disruption),
            Rule::Fail(_) | Rule::Require { .. } => None,
        })
    }

    /// A person consented to a client.
    pub(crate) fn consent(&self, user: Uuid, client: Uuid) {
        self.state().consents.add(user, client);
    }

    /// An administrator consented to a client, for everybody.
    pub(crate) fn consent_for_all(&self, client: Uuid) {
        self.state().consents.add_for_all(client);
    }

    /// Adds a rule. One that asks for consent takes back what was consented to.
    pub(crate) fn add(&self, rule: Rule) {
        let mut state = self.state();
        if let Rule::Require {
            target,
            requirement,
        } = &rule
        {
            state.consents.revoke(*target, *requirement);
        }
        state.last_id += 1;
        let id = state.last_id;
        state.rules.push((id, rule));
    }

    /// Takes a rule away; whether there was one.
    pub(crate) fn remove(&self, id: u32) -> bool {
        let mut state = self.state();
        let before = state.rules.len();
        state.rules.retain(|(other, _)| *other != id);
        state.rules.len() < before
    }

    /// No rule, and refresh tokens as Entra has them. Who was signed out stays so.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.families = TokenFamilies::default();
    }

    /// The rules with their numbers, oldest first.
    pub(crate) fn rules(&self) -> Vec<(u32, Rule)> {
        self.state().rules.clone()
    }

    /// Ends the sessions that `user` began up to `now`, and the tokens of them.
    pub(crate) fn revoke_sessions(&self, user: Uuid, now: u64) {
        self.state().revocations.end_sessions(user, now);
    }

    /// Has APIs ask for newer tokens than those of `user` up to `now`; the sessions live on.
    pub(crate) fn challenge_tokens(&self, user: Uuid, now: u64) {
        self.state().revocations.challenge(user, now);
    }

    /// The time from which on tokens of `user` are good, in seconds since 1970, if APIs ask.
    pub(crate) fn tokens_valid_from(&self, user: Uuid) -> Option<u64> {
        self.state().revocations.tokens_valid_from(user)
    }

    /// Whether a session was ended.
    pub(crate) fn has_ended(&self, session: &Session) -> bool {
        self.state().revocations.has_ended(session)
    }

    /// `now`, or the first second of what `user` began anew, where that second is still to come.
    pub(crate) fn not_before(&self, user: Uuid, now: u64) -> u64 {
        let from = self.state().revocations.tokens_valid_from(user);
        from.map_or(now, |from| now.max(from))
    }

    /// A session as it begins, or goes on with a second factor: not from before what was ended.
    pub(crate) fn start_session(&self, mut session: Session) -> Session {
        session.authenticated_at = self.not_before(session.user, session.authenticated_at);
        if session.second_factor {
            self.state().second_factors.insert(session.id);
        }
        session
    }

    /// Whether a second factor was given for a session, by its id.
    pub(crate) fn has_second_factor(&self, session: Uuid) -> bool {
        self.state().second_factors.contains(&session)
    }

    /// What becomes of a refresh token that is used twice.
    pub(crate) fn reuse(&self) -> Reuse {
        self.state().families.reuse()
    }

    pub(crate) fn set_reuse(&self, reuse: Reuse) {
        self.state().families = TokenFamilies::new(reuse);
    }

    /// Notes the use of the refresh token `token`, one of `family`.
    ///
    /// # Errors
    /// If reuse is detected: then, and ever after, for the whole family.
    pub(crate) fn record_refresh_token_use(&self, family: &str, token: &str) -> Result<(), Fault> {
        if self.state().families.record_use(family, token) {
            Ok(())
        } else {
            Err(Fault::listed(50_173, RequestKind::Token))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn injected_error(&mut self, attempt: &Attempt<'_>) -> Option<&'static crate::aadsts::Aadsts> {
        self.first(|rule| match rule {
            Rule::Fail(injected) => injected.matches(attempt).then_some(injected.row),
            Rule::Require { .. } | Rule::Disrupt(_) => None,
        })
    }

    /// What the first rule gives that gives anything; one that is used up by that goes.
    fn first<T>(&mut self, look: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let mut found = self.rules.iter().enumerate();
        let (position, given) =
            found.find_map(|(position, (_, rule))| Some((position, look(rule)?)))?;
        if self.rules[position].1.consume() {
            self.rules.remove(position);
        }
        Some(given)
    }

    fn unmet_requirement(&self, attempt: &Attempt<'_>) -> Option<Requirement> {
        let session = attempt.session?;
        let required = self.rules.iter().filter_map(|(_, rule)| match rule {
            Rule::Require {
                target,
                requirement,
            } => target.matches(attempt).then_some(*requirement),
            Rule::Fail(_) | Rule::Disrupt(_) => None,
        });
        required
            .filter(|requirement| !self.is_met(*requirement, attempt.client, session))
            .min()
    }

    fn is_met(&self, requirement: Requirement, client: Uuid, session: &Session) -> bool {
        match requirement {
            Requirement::Assignment
            | Requirement::CompliantDevice
            | Requirement::DomainJoinedDevice
            | Requirement::ApprovedApp
            | Requirement::Blocked => false,
            Requirement::SecondFactor => session.second_factor,
            Requirement::AdminConsent | Requirement::AdminApproval => {
                self.consents.is_given_for_all(client)
            }
            Requirement::Consent => self.consents.is_given(session.user, client),
        }
    }
}
