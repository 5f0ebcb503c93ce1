//! The rules, and the users and apps that they apply to.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aadsts::Aadsts;
use crate::endpoint::Endpoint;
use crate::fault_injection::{Attempt, Disruption};

/// How many times a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "SentTimes")]
pub enum Times {
    /// Until the rule is removed.
    Always,
    /// The next `n` times.
    #[serde(untagged)]
    Next(NonZeroU32),
}

/// The JSON form of [`Times`].
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`times` is neither \"always\" nor a number from 1 up"
)]
enum SentTimes {
    Word(Always),
    Count(NonZeroU32),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Always {
    Always,
}

impl From<SentTimes> for Times {
    fn from(sent: SentTimes) -> Self {
        match sent {
            SentTimes::Word(Always::Always) => Self::Always,
            SentTimes::Count(count) => Self::Next(count),
        }
    }
}

/// A requirement of a tenant policy. The order is the one in which Entra checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// The user must be assigned to the app. Never met (50105).
    Assignment,
    /// Conditional access: a compliant device. Never met (53000).
    CompliantDevice,
    /// Conditional access: a domain-joined device. Never met (53001).
    DomainJoinedDevice,
    /// Conditional access: an approved client app. Never met (53002).
    ApprovedApp,
    /// Conditional access: no access (53003).
    Blocked,
    /// A second factor. A page in the browser; 50076 with `claims` elsewhere.
    SecondFactor,
    /// An administrator's consent (90094).
    AdminConsent,
    /// An administrator's consent that the user can request (90095).
    AdminApproval,
    /// The user's consent. A page in the browser; 65001 elsewhere.
    Consent,
}

/// How reuse of a refresh token is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// The token still works, as with Entra.
    #[default]
    Tolerated,
    /// All tokens of the same sign-in become invalid, as with other servers (RFC 9700 §4.14.2).
    Detected,
}

/// The user and the app that a rule applies to. `None` matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleTarget {
    pub(crate) user: Option<Uuid>,
    /// The client, or the API that the tokens are for.
    pub(crate) app: Option<Uuid>,
}

/// A rule.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    Fail(InjectedError),
    Require {
        target: RuleTarget,
        requirement: Requirement,
    },
    Disrupt(DisruptionRule),
}

/// An error that a rule injects.
#[derive(Clone, Debug)]
pub(crate) struct InjectedError {
    pub(crate) row: &'static Aadsts,
    /// If `None`, every endpoint that can return the error.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) target: RuleTarget,
    pub(crate) times: Times,
}

/// Throttling or an outage.
#[derive(Clone, Debug)]
pub(crate) struct DisruptionRule {
    pub(crate) disruption: Disruption,
    /// If `None`, every path of the emulator.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) times: Times,
}

impl Times {
    /// The next time only.
    pub const ONCE: Self = Self::Next(NonZeroU32::MIN);

    pub(crate) fn once() -> Self {
        Self::ONCE
    }

    pub(crate) fn always() -> Self {
        Self::Always
    }

    /// Counts one use. Returns whether it was the last one.
    fn consume(&mut self) -> bool {
        match self {
            Self::Always => false,
            Self::Next(count) => match NonZeroU32::new(count.get() - 1) {
                Some(left) => {
                    *count = left;
                    false
                }
                None => true,
            },
        }
    }
}

impl Requirement {
    /// All requirements.
    pub const ALL: [Self; 9] = [
        Self::Assignment,
        Self::CompliantDevice,
        Self::DomainJoinedDevice,
        Self::ApprovedApp,
        Self::Blocked,
        Self::SecondFactor,
        Self::AdminConsent,
        Self::AdminApproval,
        Self::Consent,
    ];

    /// Returns the AADSTS number that the client gets if the requirement is not met.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Assignment => 50_105,
            Self::CompliantDevice => 53_000,
            Self::DomainJoinedDevice => 53_001,
            Self::ApprovedApp => 53_002,
            Self::Blocked => 53_003,
            Self::SecondFactor => 50_076,
            Self::AdminConsent => 90_094,
            Self::AdminApproval => 90_095,
            Self::Consent => 65_001,
        }
    }
}

impl RuleTarget {
    pub(crate) fn matches(&self, attempt: &Attempt<'_>) -> bool {
        let user = attempt.session.map(|session| session.user);
        let is_user = self.user.is_none_or(|wanted| user == Some(wanted));
        let is_app = self
            .app
            .is_none_or(|app| app == attempt.client || attempt.resources.contains(&app));
        is_user && is_app
    }
}

impl InjectedError {
    pub(crate) fn matches(&self, attempt: &Attempt<'_>) -> bool {
        let at_endpoint = self
            .endpoint
            .is_none_or(|endpoint| endpoint == attempt.kind.endpoint());
        at_endpoint && self.row.occurs(attempt.kind) && self.target.matches(attempt)
    }
}

impl DisruptionRule {
    pub(crate) fn applies_to(&self, endpoint: Option<Endpoint>) -> bool {
        self.endpoint.is_none() || self.endpoint == endpoint
    }
}

impl Rule {
    /// Counts one use. Returns whether it was the last one.
    pub(crate) fn consume(&mut self) -> bool {
        match self {
            Self::Fail(injected) => injected.times.consume(),
            Self::Disrupt(rule) => rule.times.consume(),
            Self::Require { .. } => false,
        }
    }
}
