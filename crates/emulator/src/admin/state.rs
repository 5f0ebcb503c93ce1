//! The state that the admin API shows: a copy of the emulator's data without secrets.

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

/// The state of the emulator at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// The base URL, without a trailing slash.
    pub base_url: String,
    /// The emulator's time (RFC 3339).
    pub now: String,
    /// How many seconds the emulator's clock is ahead of the clock it was started with.
    pub ahead_seconds: u64,
    /// The users who can sign in.
    pub users: Vec<UserState>,
    /// The app registrations.
    pub apps: Vec<AppState>,
    /// The active rules, oldest first.
    pub rules: Vec<RuleState>,
    /// How reuse of a refresh token is handled.
    pub refresh_reuse: Reuse,
    /// The published keys.
    pub keys: Vec<KeyState>,
    /// The latest requests, newest first. Requests to `/admin` are not included.
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
    /// APIs challenge tokens issued before this time, in seconds since 1970.
    pub tokens_from: Option<u64>,
}

/// An app registration.
#[derive(Clone, Debug, Serialize)]
pub struct AppState {
    /// The client id.
    pub client_id: Uuid,
    /// The name.
    pub name: String,
    /// The name of the tenant where the app is registered.
    pub tenant: String,
    /// The platform, as the Azure portal names it.
    pub platform: &'static str,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleState {
    /// The number of the rule, for [`super::Command::Remove`].
    pub rule: u32,
    /// The effect of the rule.
    #[serde(flatten)]
    pub effect: RuleEffect,
}

/// The effect of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum RuleEffect {
    /// Returns an error.
    Fail {
        /// The AADSTS number.
        number: u32,
        /// If `None`, every endpoint that can return the error.
        endpoint: Option<Endpoint>,
        /// The user name. If `None`, every user.
        user: Option<String>,
        /// The name of the app. If `None`, every app.
        app: Option<String>,
        /// How many more times.
        times: Times,
    },
    /// Requires something of users.
    Require {
        /// The requirement.
        requirement: Requirement,
        /// The user name. If `None`, every user.
        user: Option<String>,
        /// The name of the app. If `None`, every app.
        app: Option<String>,
    },
    /// Returns 429.
    Throttle {
        /// If `None`, every path.
        endpoint: Option<Endpoint>,
        /// How many more times.
        times: Times,
        /// `Retry-After`, in seconds.
        retry_after: u32,
    },
    /// Returns 503.
    Outage {
        /// If `None`, every path.
        endpoint: Option<Endpoint>,
        /// How many more times.
        times: Times,
    },
}

/// A published key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyState {
    /// The key id.
    pub kid: String,
    /// Whether this key signs new tokens.
    pub signs: bool,
}

/// A handled request.
#[derive(Clone, Debug, Serialize)]
pub struct RequestState {
    /// The time of the request by the emulator's clock (RFC 3339).
    pub at: String,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The HTTP status of the response.
    pub status: u16,
    /// The AADSTS number if the response is an error.
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
