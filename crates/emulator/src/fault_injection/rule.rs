//! The rules on the switchboard, and whom they are for.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aadsts::Aadsts;
use crate::endpoint::Endpoint;
use crate::fault_injection::{Attempt, Disruption};

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "SentTimes")]
pub enum Times {
    /// Until it is switched off.
    Always,
    /// The next so many times.
    #[serde(untagged)]
    Next(NonZeroU32),
}

/// [`Times`] as they come in JSON.
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

/// What a policy of the tenant demands. The order is that in which Entra asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// The user is assigned to the app: never (50105).
    Assignment,
    /// Conditional access: a compliant device, which is never there (53000).
    CompliantDevice,
    /// Conditional access: a domain-joined device, which is never there (53001).
    DomainJoinedDevice,
    /// Conditional access: an approved client app, which it never is (53002).
    ApprovedApp,
    /// Conditional access: no access at all (53003).
    Blocked,
    /// A second factor: a page in the browser, 50076 with `claims` elsewhere.
    SecondFactor,
    /// An administrator's consent (90094).
    AdminConsent,
    /// An administrator's consent, which the user can request (90095).
    AdminApproval,
    /// The user's consent: a page in the browser, 65001 elsewhere.
    Consent,
}

/// What becomes of a refresh token that is used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// It works again, as Entra does it.
    #[default]
    Tolerated,
    /// It ends every token of the same sign-in, as others do it (RFC 9700 section 4.14.2).
    Detected,
}

/// Whom a rule is for; anybody where nobody is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleTarget {
    pub(crate) user: Option<Uuid>,
    /// The client, or the API that the tokens are for.
    pub(crate) app: Option<Uuid>,
}

/// Something that does not go as usual.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    Fail(InjectedError),
    Require {
        target: RuleTarget,
        requirement: Requirement,
    },
    Disrupt(DisruptionRule),
}

/// An error to answer with.
#[derive(Clone, Debug)]
pub(crate) struct InjectedError {
    pub(crate) row: &'static Aadsts,
    /// Any where the error occurs, if `None`.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) target: RuleTarget,
    pub(crate) times: Times,
}

/// Throttling, or an outage.
#[derive(Clone, Debug)]
pub(crate) struct DisruptionRule {
    pub(crate) disruption: Disruption,
    /// Every path of the emulator, if `None`.
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

    /// Takes one away; whether none is left.
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
    /// Every one.
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

    /// The AADSTS number of what a client reads that does not meet it.
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
    /// Uses it once; whether it is used up.
    pub(crate) fn consume(&mut self) -> bool {
        match self {
            Self::Fail(injected) => injected.times.consume(),
            Self::Disrupt(rule) => rule.times.consume(),
            Self::Require { .. } => false,
        }
    }
}
