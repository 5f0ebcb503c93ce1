//! The page `/admin`. It consists of forms and has no script. Each POST contains one command and
//! redirects back to the page.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::aadsts::{Aadsts, TABLE};
use crate::admin::state::{RuleEffect, RuleState, State};
use crate::admin::{Admin, api, form};
use crate::endpoint::Endpoint;
use crate::entra::Entra;
use crate::fault_injection::{Requirement, Reuse, Times};
use crate::page;

pub(super) async fn page(Shared(entra): Shared<Arc<Entra>>) -> Response {
    show(&Admin::new(entra).state(), StatusCode::OK, None)
}

pub(super) async fn post(Shared(entra): Shared<Arc<Entra>>, body: Bytes) -> Response {
    let admin = Admin::new(entra);
    let (status, problem) = match form::read(&body) {
        Err(problem) => (StatusCode::BAD_REQUEST, problem),
        Ok(command) => match admin.apply(command).await {
            Ok(_) => return redirect_to_page(),
            Err(error) => (api::status(&error), error.to_string()),
        },
    };
    show(&admin.state(), status, Some(problem))
}

/// Redirects to the page by GET, so that a reload does not repeat the command.
fn redirect_to_page() -> Response {
    let location = HeaderValue::from_static("/admin");
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn show(state: &State, status: StatusCode, problem: Option<String>) -> Response {
    let page = AdminPage {
        state,
        rules: state.rules.iter().map(RuleView::from_state).collect(),
        errors: TABLE,
        requirements: Requirement::ALL,
        endpoints: Endpoint::ALL,
        ahead: duration_label(state.ahead_seconds),
        reuse_detected: state.refresh_reuse == Reuse::Detected,
        problem,
    };
    page::show(status, &page)
}

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage<'a> {
    state: &'a State,
    rules: Vec<RuleView>,
    errors: &'static [Aadsts],
    requirements: [Requirement; 9],
    endpoints: [Endpoint; 3],
    /// How far the clock is ahead, as text.
    ahead: Option<String>,
    reuse_detected: bool,
    problem: Option<String>,
}

/// A rule as text.
struct RuleView {
    rule: u32,
    what: String,
    detail: String,
    times: Option<String>,
}

impl RuleView {
    fn from_state(state: &RuleState) -> Self {
        let (what, detail, times) = match &state.effect {
            RuleEffect::Fail {
                number,
                endpoint,
                user,
                app,
                times,
            } => (
                format!("AADSTS{number}"),
                format!("{}, {}", endpoint_label(*endpoint), target_label(user, app)),
                Some(*times),
            ),
            RuleEffect::Require {
                requirement,
                user,
                app,
            } => (
                format!("Require: {}", requirement.label()),
                target_label(user, app),
                None,
            ),
            RuleEffect::Throttle {
                endpoint,
                times,
                retry_after,
            } => (
                "Throttling".to_owned(),
                format!("{}, Retry-After {retry_after} s", endpoint_label(*endpoint)),
                Some(*times),
            ),
            RuleEffect::Outage { endpoint, times } => {
                ("Outage".to_owned(), endpoint_label(*endpoint), Some(*times))
            }
        };
        Self {
            rule: state.rule,
            what,
            detail,
            times: times.map(times_label),
        }
    }
}

fn endpoint_label(endpoint: Option<Endpoint>) -> String {
    endpoint.map_or("everywhere".to_owned(), |endpoint| {
        format!("at {}", endpoint.name())
    })
}

fn target_label(user: &Option<String>, app: &Option<String>) -> String {
    let user = user.as_deref().unwrap_or("any user");
    match app {
        Some(app) => format!("{user} with {app}"),
        None => user.to_owned(),
    }
}

fn times_label(times: Times) -> String {
    match times {
        Times::Always => "always".to_owned(),
        Times::Next(count) if count.get() == 1 => "once".to_owned(),
        Times::Next(count) => format!("{count} times"),
    }
}

/// Returns days, hours, minutes and seconds, without those that are zero. Returns `None` for zero
/// seconds.
fn duration_label(seconds: u64) -> Option<String> {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let words: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

impl Requirement {
    /// Returns the name in commands.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::CompliantDevice => "compliant-device",
            Self::DomainJoinedDevice => "domain-joined-device",
            Self::ApprovedApp => "approved-app",
            Self::Blocked => "blocked",
            Self::SecondFactor => "second-factor",
            Self::AdminConsent => "admin-consent",
            Self::AdminApproval => "admin-approval",
            Self::Consent => "consent",
        }
    }

    /// Returns the name on the page.
    fn label(self) -> &'static str {
        match self {
            Self::Assignment => "assignment to the app (50105)",
            Self::CompliantDevice => "a compliant device (53000)",
            Self::DomainJoinedDevice => "a domain-joined device (53001)",
            Self::ApprovedApp => "an approved client app (53002)",
            Self::Blocked => "blocked by conditional access (53003)",
            Self::SecondFactor => "a second factor (50076)",
            Self::AdminConsent => "admin consent (90094)",
            Self::AdminApproval => "admin consent, requestable (90095)",
            Self::Consent => "user consent (65001)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::duration_label;

    #[test]
    fn duration_label_omits_zero_parts() {
        assert_eq!(duration_label(0), None);
        assert_eq!(duration_label(90_061).as_deref(), Some("1 d 1 h 1 min 1 s"));
        assert_eq!(duration_label(3600).as_deref(), Some("1 h"));
    }
}
