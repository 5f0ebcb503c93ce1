//! The pages people see, and the headers that guard them.
//!
//! No page carries a script but the form that posts itself back to a client
//! (`response_mode=form_post`), and that one works without.

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};

use crate::fault::Fault;
use crate::request_trace::{AadstsCode, RequestTrace};
use crate::scope::{Oidc, Scopes};
use crate::tenant::{Tenant, User};

/// The style sheet of every page.
pub(crate) const STYLE: &str = include_str!("style.css");
/// What the page of the switches adds to it.
pub(crate) const ADMIN_STYLE: &str = include_str!("admin.css");
/// The one script.
pub(crate) const SUBMIT: &str = "document.forms[0].submit()";

/// Names exactly what the pages hold. No `form-action`: Chromium applies it to the redirects
/// that follow a post, and these lead to clients and on from there.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src '{}' '{}'; script-src '{}'; base-uri 'none'; frame-ancestors 'none'",
        source(STYLE),
        source(ADMIN_STYLE),
        source(SUBMIT),
    ))
    .ok()
});

fn source(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

/// Renders a page.
pub(crate) fn show(status: StatusCode, page: &impl Template) -> Response {
    let body = match page.render() {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a page did not render");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut response = (status, axum::response::Html(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, no_store());
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    );
    if let Some(policy) = POLICY.clone() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Shows a fault to the person, where it must not go to the client.
pub(crate) fn show_fault(trace: &RequestTrace, fault: &Fault) -> Response {
    tracing::info!(code = fault.code(), "refused, with a page");
    let page = ErrorPage {
        code: fault.code(),
        message: fault.to_string(),
        details: trace.details(),
    };
    let mut response = show(fault.status(), &page);
    trace.add_request_id(response.headers_mut());
    response.extensions_mut().insert(AadstsCode(fault.code()));
    response
}

/// `Cache-Control` of whatever concerns one person or one token.
pub(crate) fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store, no-cache")
}

/// What every form of the sign-in needs.
pub(crate) struct Form<'a> {
    pub(crate) tenant: &'a str,
    /// The name of the client.
    pub(crate) app: &'a str,
    pub(crate) action: String,
    /// The sealed flow.
    pub(crate) flow: String,
}

/// One account to choose.
pub(crate) struct Tile<'a> {
    pub(crate) name: &'a str,
    pub(crate) username: &'a str,
    pub(crate) initials: String,
    pub(crate) signed_in: bool,
}

impl<'a> Tile<'a> {
    pub(crate) fn new(user: &'a User, signed_in: bool) -> Self {
        let initials = user
            .name
            .split_whitespace()
            .filter_map(|word| word.chars().next())
            .take(2)
            .collect();
        Self {
            name: &user.name,
            username: &user.username,
            initials,
            signed_in,
        }
    }
}

/// Accounts that this browser has seen.
#[derive(Template)]
#[template(path = "pick_account.html")]
pub(crate) struct PickAccount<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) tiles: Vec<Tile<'a>>,
}

/// Who are you?
#[derive(Template)]
#[template(path = "username.html")]
pub(crate) struct Username<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) tiles: Vec<Tile<'a>>,
    pub(crate) username: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Prove it.
#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) name: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Stay signed in?
#[derive(Template)]
#[template(path = "stay.html")]
pub(crate) struct Stay<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// Did you ask for this code?
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// The code of a device.
#[derive(Template)]
#[template(path = "device_code.html")]
pub(crate) struct DeviceCode<'a> {
    /// The path of the page.
    pub(crate) action: &'a str,
    pub(crate) typed: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// What the client would be allowed.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) groups: Vec<PermissionGroup<'a>>,
}

/// Prove it again.
#[derive(Template)]
#[template(path = "second_factor.html")]
pub(crate) struct SecondFactor<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Only an administrator can consent.
#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct Approval<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    /// Where an administrator consents.
    pub(crate) link: String,
    /// Whether the person can ask for it here.
    pub(crate) requestable: bool,
}

/// An administrator was asked.
#[derive(Template)]
#[template(path = "approval_requested.html")]
pub(crate) struct ApprovalRequested<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// What an administrator allows a client on behalf of everybody.
#[derive(Template)]
#[template(path = "admin_consent.html")]
pub(crate) struct AdminConsent<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) groups: Vec<PermissionGroup<'a>>,
}

/// Permissions of one resource.
pub(crate) struct PermissionGroup<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

impl<'a> PermissionGroup<'a> {
    /// What a client would be allowed, in words.
    pub(crate) fn for_scopes(scopes: &Scopes<'a>) -> Vec<Self> {
        let mut own = Vec::new();
        if scopes.oidc.openid || scopes.oidc.profile || scopes.oidc.email {
            own.push("Sign you in and read your profile");
        }
        if scopes.oidc.offline_access {
            own.push("Maintain access to data you have given it access to");
        }
        let mut groups = Vec::new();
        if !own.is_empty() {
            groups.push(Self {
                title: "Your account",
                lines: own,
            });
        }
        groups.extend(scopes.requested.iter().map(|requested| Self {
            title: requested.resource.display_name(),
            lines: requested.granted(Oidc::default()),
        }));
        groups
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    code: u32,
    message: String,
    details: [(&'static str, String); 3],
}

/// A heading and a sentence.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice<'a> {
    pub(crate) heading: &'a str,
    pub(crate) text: &'a str,
}

/// What the emulator plays.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    /// With the authority of each.
    pub(crate) tenants: Vec<(&'a Tenant, String)>,
}

/// The answer to a client as a form that posts itself.
#[derive(Template)]
#[template(path = "form_post.html")]
pub(crate) struct FormPost<'a> {
    pub(crate) action: &'a str,
    pub(crate) fields: &'a [(&'static str, String)],
}
