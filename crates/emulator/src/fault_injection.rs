//! Fault injection: rules that change the responses of the emulator. Endpoints evaluate them for
//! each request; [`crate::Admin`] changes them.
//!
//! Owns: injected errors, policy requirements, revoked sessions, throttling and outages.
//! Does not own: rollover of the keys, the clock offset, and access to the rules (see
//! [`crate::admin`]).
//! All of it is lost when the process ends.

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

/// The active rules and the state that they depend on.
#[derive(Default)]
pub(crate) struct FaultRules(Mutex<State>);

#[derive(Default)]
struct State {
    rules: Vec<(u32, Rule)>,
    last_id: u32,
    consents: Consents,
    revocations: Revocations,
    families: TokenFamilies,
    /// Ids of sessions with a second factor. Tokens contain the session id but not the factor.
    second_factors: HashSet<Uuid>,
}

/// A request for tokens or for a code, as far as rules distinguish them.
pub(crate) struct Attempt<'a> {
    pub(crate) kind: RequestKind,
    pub(crate) client: Uuid,
    /// The resources of the tokens.
    pub(crate) resources: Vec<Uuid>,
    /// The user's session, if the user is known.
    pub(crate) session: Option<&'a Session>,
}

/// A disruption of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disruption {
    /// Too many requests. Contains `Retry-After` in seconds.
    Throttled(u32),
    /// The service is unavailable.
    Outage,
}

impl FaultRules {
    /// Checks whether a request can proceed. Must be called before the grant is consumed, so that
    /// the client can try again.
    ///
    /// # Errors
    /// With an injected error, or with an unmet requirement of a policy. The authorization endpoint
    /// has pages for requirements and therefore gets no error for them.
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

    /// Returns the first unmet requirement for the user, in the order of [`Requirement`].
    pub(crate) fn unmet_requirement(&self, attempt: &Attempt<'_>) -> Option<Requirement> {
        self.state().unmet_requirement(attempt)
    }

    /// Returns the disruption of a request to `endpoint`. `None` stands for any other path.
    pub(crate) fn disruption(&self, endpoint: Option<Endpoint>) -> Option<Disruption> {
        self.state().first_match(|rule| match rule {
            Rule::Disrupt(rule) => rule.applies_to(endpoint).then_some(rule.disruption),
            Rule::Fail(_) | Rule::Require { .. } => None,
        })
    }

    /// Records that a user consented to a client.
    pub(crate) fn consent(&self, user: Uuid, client: Uuid) {
        self.state().consents.add(user, client);
    }

    /// Records that an administrator consented to a client for all users.
    pub(crate) fn consent_for_all(&self, client: Uuid) {
        self.state().consents.add_for_all(client);
    }

    /// Adds a rule. A rule that requires consent revokes earlier consents.
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

    /// Removes a rule. Returns false if it did not exist.
    pub(crate) fn remove(&self, id: u32) -> bool {
        let mut state = self.state();
        let before = state.rules.len();
        state.rules.retain(|(other, _)| *other != id);
        state.rules.len() < before
    }

    /// Removes all rules and tolerates reuse of refresh tokens. Revoked sessions stay revoked.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.families = TokenFamilies::default();
    }

    /// Returns the rules with their numbers, oldest first.
    pub(crate) fn rules(&self) -> Vec<(u32, Rule)> {
        self.state().rules.clone()
    }

    /// Ends the sessions that `user` started until `now`, including their tokens.
    pub(crate) fn revoke_sessions(&self, user: Uuid, now: u64) {
        self.state().revocations.end_sessions(user, now);
    }

    /// Makes APIs require newer tokens than those issued to `user` until `now`. The sessions
    /// continue.
    pub(crate) fn challenge_tokens(&self, user: Uuid, now: u64) {
        self.state().revocations.challenge(user, now);
    }

    /// Returns the time in seconds since 1970 from which tokens of `user` are valid, or `None`
    /// without a revocation.
    pub(crate) fn tokens_valid_from(&self, user: Uuid) -> Option<u64> {
        self.state().revocations.tokens_valid_from(user)
    }

    /// Returns whether a session was revoked.
    pub(crate) fn has_ended(&self, session: &Session) -> bool {
        self.state().revocations.has_ended(session)
    }

    /// Returns `now`, or the first valid second after a revocation if that is later.
    pub(crate) fn not_before(&self, user: Uuid, now: u64) -> u64 {
        let from = self.state().revocations.tokens_valid_from(user);
        from.map_or(now, |from| now.max(from))
    }

    /// Starts a session, or continues it with a second factor. It starts after the latest
    /// revocation.
    pub(crate) fn start_session(&self, mut session: Session) -> Session {
        session.authenticated_at = self.not_before(session.user, session.authenticated_at);
        if session.second_factor {
            self.state().second_factors.insert(session.id);
        }
        session
    }

    /// Returns whether the user gave a second factor in the session with this id.
    pub(crate) fn has_second_factor(&self, session: Uuid) -> bool {
        self.state().second_factors.contains(&session)
    }

    /// Returns how reuse of a refresh token is handled.
    pub(crate) fn reuse(&self) -> Reuse {
        self.state().families.reuse()
    }

    pub(crate) fn set_reuse(&self, reuse: Reuse) {
        self.state().families = TokenFamilies::new(reuse);
    }

    /// Records the use of a refresh token of `family`.
    ///
    /// # Errors
    /// If reuse is detected. All later uses in the family fail too.
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
        self.first_match(|rule| match rule {
            Rule::Fail(injected) => injected.matches(attempt).then_some(injected.row),
            Rule::Require { .. } | Rule::Disrupt(_) => None,
        })
    }

    /// Returns the first result of `evaluate`, and removes the rule if that was its last use.
    fn first_match<T>(&mut self, evaluate: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let mut found = self.rules.iter().enumerate();
        let (position, given) =
            found.find_map(|(position, (_, rule))| Some((position, evaluate(rule)?)))?;
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
