//! The state per user that rules depend on: consents, revoked sessions, used refresh tokens.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::fault_injection::{Requirement, Reuse, RuleTarget};
use crate::session::Session;

/// The consents given since a rule required them.
#[derive(Default)]
pub(super) struct Consents {
    /// User and client.
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

    /// Revokes the consents that meet `requirement`. A rule can name the API instead of the client,
    /// so consents to all clients are revoked.
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

/// The times from which sessions and tokens of users are valid, in seconds since 1970.
///
/// A revocation takes effect in the next second, so that it includes what started in the same
/// second. New sessions and tokens are dated there (see [`super::FaultRules::not_before`]).
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

/// The used refresh tokens by family. A family is all refresh tokens of one sign-in.
#[derive(Default)]
pub(super) enum TokenFamilies {
    /// Uses are not recorded.
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

    /// Records the use of `token`. Returns whether it is allowed. The second use ends the family.
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
