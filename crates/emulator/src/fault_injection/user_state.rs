//! What switches remember of people: consents, ended sessions, used refresh tokens.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::fault_injection::{Requirement, Reuse, RuleTarget};
use crate::session::Session;

/// What was consented to since a rule asked for it.
#[derive(Default)]
pub(super) struct Consents {
    /// Person and client.
    by_users: HashSet<(Uuid, Uuid)>,
    by_administrators: HashSet<Uuid>,
}

impl Consents {
    pub(super) fn add(&mut self, user: Uuid, client: Uuid) {
        self.by_users.insert((user, client));
    }

    pub(super) fn add_for_all(&mut self, client: Uuid) {
        self.by_administrators.insert(client);
    }

    pub(super) fn is_given(&self, user: Uuid, client: Uuid) -> bool {
        self.by_users.contains(&(user, client)) || self.is_given_for_all(client)
    }

    pub(super) fn is_given_for_all(&self, client: Uuid) -> bool {
        self.by_administrators.contains(&client)
    }

    /// Forgets what would meet `requirement` at once. A rule may name the API and not the
    /// client, so consents to every client are forgotten.
    pub(super) fn revoke(&mut self, target: RuleTarget, requirement: Requirement) {
        match requirement {
            Requirement::Consent => self
                .by_users
                .retain(|(user, _)| target.user.is_some_and(|named| named != *user)),
            Requirement::AdminConsent | Requirement::AdminApproval => {}
            Requirement::Assignment
            | Requirement::CompliantDevice
            | Requirement::DomainJoinedDevice
            | Requirement::ApprovedApp
            | Requirement::Blocked
            | Requirement::SecondFactor => return,
        }
        self.by_administrators.clear();
    }
}

/// From when on sessions and tokens of people are good, in seconds since 1970.
///
/// Always the second after the one in which they were ended, so that what began in the same
/// second ends too; what begins anew is dated there (see [`super::FaultRules::anew`]).
#[derive(Default)]
pub(super) struct Revocations {
    sessions: HashMap<Uuid, u64>,
    tokens: HashMap<Uuid, u64>,
}

impl Revocations {
    pub(super) fn challenge(&mut self, user: Uuid, now: u64) {
        let from = self.tokens.entry(user).or_default();
        *from = now.max(*from) + 1;
    }

    pub(super) fn end_sessions(&mut self, user: Uuid, now: u64) {
        self.challenge(user, now);
        self.sessions.insert(user, self.tokens[&user]);
    }

    pub(super) fn tokens_valid_from(&self, user: Uuid) -> Option<u64> {
        self.tokens.get(&user).copied()
    }

    pub(super) fn has_ended(&self, session: &Session) -> bool {
        let from = self.sessions.get(&session.user);
        from.is_some_and(|from| session.authenticated_at < *from)
    }
}

/// The refresh tokens that were used, family by family: all that descend from one sign-in.
#[derive(Default)]
pub(super) enum TokenFamilies {
    /// Nobody looks.
    #[default]
    Tolerated,
    Detected {
        used: HashSet<String>,
        ended: HashSet<String>,
    },
}

impl TokenFamilies {
    pub(super) fn new(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Tolerated => Self::Tolerated,
            Reuse::Detected => Self::Detected {
                used: HashSet::new(),
                ended: HashSet::new(),
            },
        }
    }

    pub(super) fn reuse(&self) -> Reuse {
        match self {
            Self::Tolerated => Reuse::Tolerated,
            Self::Detected { .. } => Reuse::Detected,
        }
    }

    /// Whether `token` may be used; the second use ends its family.
    pub(super) fn record_use(&mut self, family: &str, token: &str) -> bool {
        let Self::Detected { used, ended } = self else {
            return true;
        };
        if !used.insert(token.to_owned()) {
            ended.insert(family.to_owned());
        }
        !ended.contains(family)
    }
}
