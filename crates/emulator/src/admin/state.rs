//! What a developer sees: a copy of everything that can be told, without secrets.

use std::time::SystemTime;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::cloud::{Member, Registration};
use crate::endpoint::Endpoint;
use crate::entra::Entra;
use crate::fault_injection::{
    Disruption, DisruptionRule, InjectedError, Requirement, Reuse, Rule, RuleTarget, Times,
};
use crate::request_log::RequestRecord;

/// The emulator at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Where it is reached, without a slash at the end.
    pub base_url: String,
    /// What its clock says (RFC 3339).
    pub now: String,
    /// How far that is ahead of the clock it was started with, in seconds.
    pub ahead_seconds: u64,
    /// Who can sign in.
    pub users: Vec<UserState>,
    /// The app registrations.
    pub apps: Vec<AppState>,
    /// What is switched on, oldest first.
    pub rules: Vec<RuleState>,
    /// What becomes of a refresh token that is used twice.
    pub refresh_reuse: Reuse,
    /// The published keys.
    pub keys: Vec<KeyState>,
    /// The last requests, newest first; those of `/admin` are not among them.
    pub requests: Vec<RequestState>,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
pub struct UserState {
    /// The object id.
    pub object_id: Uuid,
    /// The user name.
    pub username: String,
    /// The display name.
    pub name: String,
    /// The name of the tenant.
    pub tenant: String,
    /// Tokens from before this are challenged by APIs, in seconds since 1970.
    pub tokens_from: Option<u64>,
}

/// An app registration.
#[derive(Clone, Debug, Serialize)]
pub struct AppState {
    /// The client id.
    pub client_id: Uuid,
    /// The name.
    pub name: String,
    /// The name of the tenant that it is registered in.
    pub tenant: String,
    /// The platform, as portals name it.
    pub platform: &'static str,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleState {
    /// The number by which it is removed.
    pub rule: u32,
    /// What it does.
    #[serde(flatten)]
    pub effect: RuleEffect,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum RuleEffect {
    /// Answers with an error.
    Fail {
        /// The AADSTS number.
        number: u32,
        /// Wherever it occurs, if `None`.
        endpoint: Option<Endpoint>,
        /// The user name; anybody, if `None`.
        user: Option<String>,
        /// The name of the app; any, if `None`.
        app: Option<String>,
        /// How often still.
        times: Times,
    },
    /// Demands something.
    Require {
        /// What.
        requirement: Requirement,
        /// The user name; anybody, if `None`.
        user: Option<String>,
        /// The name of the app; any, if `None`.
        app: Option<String>,
    },
    /// Answers 429.
    Throttle {
        /// Every request, if `None`.
        endpoint: Option<Endpoint>,
        /// How often still.
        times: Times,
        /// `Retry-After`, in seconds.
        retry_after: u32,
    },
    /// Answers 503.
    Outage {
        /// Every request, if `None`.
        endpoint: Option<Endpoint>,
        /// How often still.
        times: Times,
    },
}

/// A published key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyState {
    /// Its id.
    pub kid: String,
    /// Whether it is the one that signs.
    pub signs: bool,
}

/// A request that was served.
#[derive(Clone, Debug, Serialize)]
pub struct RequestState {
    /// When it came, by the emulator's clock (RFC 3339).
    pub at: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The AADSTS number, if it was refused with one.
    pub aadsts: Option<u32>,
}

impl State {
    pub(super) fn from_entra(entra: &Entra) -> Self {
        Self {
            base_url: entra.base.clone(),
            now: rfc3339(entra.clock.now()),
            ahead_seconds: entra.ahead.ahead().as_secs(),
            users: users(entra),
            apps: apps(entra),
            rules: rules(entra),
            refresh_reuse: entra.fault_rules.reuse(),
            keys: keys(entra),
            requests: entra.requests.latest().into_iter().map(request).collect(),
        }
    }
}

fn users(entra: &Entra) -> Vec<UserState> {
    let user = |Member { tenant, user }: Member<'_>| UserState {
        object_id: user.object_id,
        username: user.username.clone(),
        name: user.name.clone(),
        tenant: tenant.name.clone(),
        tokens_from: entra.fault_rules.tokens_valid_from(user.object_id),
    };
    entra.cloud.members().map(user).collect()
}

fn apps(entra: &Entra) -> Vec<AppState> {
    let app = |Registration { home, app }: Registration<'_>| AppState {
        client_id: app.client_id,
        name: app.name.clone(),
        tenant: home.name.clone(),
        platform: app.platform.name(),
    };
    entra.cloud.registrations().map(app).collect()
}

fn keys(entra: &Entra) -> Vec<KeyState> {
    let keys = entra.keys.signing();
    let state = |(position, key): (usize, &std::sync::Arc<crate::keys::SigningKey>)| KeyState {
        kid: key.kid.clone(),
        signs: position == 0,
    };
    keys.iter().enumerate().map(state).collect()
}

fn rules(entra: &Entra) -> Vec<RuleState> {
    let state = |(id, rule): &(u32, Rule)| RuleState {
        rule: *id,
        effect: RuleEffect::from_rule(entra, rule),
    };
    entra.fault_rules.rules().iter().map(state).collect()
}

impl RuleEffect {
    fn from_rule(entra: &Entra, rule: &Rule) -> Self {
        match rule {
            Rule::Fail(injected) => Self::from_injected(entra, injected),
            Rule::Require {
                target,
                requirement,
            } => {
                let (user, app) = names(entra, *target);
                Self::Require {
                    requirement: *requirement,
                    user,
                    app,
                }
            }
            Rule::Disrupt(rule) => Self::from_disruption(rule),
        }
    }

    fn from_injected(entra: &Entra, injected: &InjectedError) -> Self {
        let (user, app) = names(entra, injected.target);
        Self::Fail {
            number: injected.row.number,
            endpoint: injected.endpoint,
            user,
            app,
            times: injected.times,
        }
    }

    fn from_disruption(rule: &DisruptionRule) -> Self {
        let DisruptionRule {
            disruption,
            endpoint,
            times,
        } = *rule;
        match disruption {
            Disruption::Throttled(retry_after) => Self::Throttle {
                endpoint,
                times,
                retry_after,
            },
            Disruption::Outage => Self::Outage { endpoint, times },
        }
    }
}

fn names(entra: &Entra, target: RuleTarget) -> (Option<String>, Option<String>) {
    let user = target.user.and_then(|id| entra.cloud.member(id));
    let app = target.app.and_then(|id| entra.cloud.registration(id));
    (
        user.map(|member| member.user.username.clone()),
        app.map(|registration| registration.app.name.clone()),
    )
}

fn request(record: RequestRecord) -> RequestState {
    RequestState {
        at: rfc3339(record.at),
        method: record.method.to_string(),
        path: record.path,
        status: record.status.as_u16(),
        aadsts: record.aadsts,
    }
}

fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.replace_nanosecond(0)
        .unwrap_or(at)
        .format(&Rfc3339)
        .unwrap_or_default()
}
