//! The pages for users, and their security headers.
//!
//! Only the form that posts itself to a client (`response_mode=form_post`) contains a script. It
//! also works without.

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
/// The additional style of the admin page.
pub(crate) const ADMIN_STYLE: &str = include_str!("admin.css");
/// The only script.
pub(crate) const SUBMIT: &str = "document.forms[0].submit()";

/// The content security policy, which allows exactly the content of the pages. It has no
/// `form-action`, because Chromium applies that to redirects after a POST too, and these lead to
/// clients.
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
            tracing::error!(%error, "cannot render a page");
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

/// Shows a fault to the user, where it must not be sent to the client.
pub(crate) fn show_fault(trace: &RequestTrace, fault: &Fault) -> Response {
    tracing::info!(code = fault.code(), "showed an error page");
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

/// Returns `Cache-Control` for responses that concern one user or one token.
pub(crate) fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store, no-cache")
}

/// The common content of the sign-in forms.
pub(crate) struct Form<'a> {
    pub(crate) tenant: &'a str,
    /// The name of the client.
    pub(crate) app: &'a str,
    pub(crate) action: String,
    /// The sealed flow.
    pub(crate) flow: String,
}

/// An account that the user can choose.
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

/// Asks for one of the accounts that the browser remembers.
#[derive(Template)]
#[template(path = "pick_account.html")]
pub(crate) struct PickAccount<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) tiles: Vec<Tile<'a>>,
}

/// Asks for the user name.
#[derive(Template)]
#[template(path = "username.html")]
pub(crate) struct Username<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) tiles: Vec<Tile<'a>>,
    pub(crate) username: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Asks for the password.
#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) name: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Asks whether to stay signed in.
#[derive(Template)]
#[template(path = "stay.html")]
pub(crate) struct Stay<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// Asks whether the user requested the device code.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// Asks for the code of a device.
#[derive(Template)]
#[template(path = "device_code.html")]
pub(crate) struct DeviceCode<'a> {
    /// The path of the page.
    pub(crate) action: &'a str,
    pub(crate) typed: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Asks for consent to the permissions of the client.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) groups: Vec<PermissionGroup<'a>>,
}

/// Asks for the second factor.
#[derive(Template)]
#[template(path = "second_factor.html")]
pub(crate) struct SecondFactor<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    pub(crate) problem: Option<&'static str>,
}

/// Tells the user that only an administrator can consent.
#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct Approval<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
    /// The URL where an administrator can consent.
    pub(crate) link: String,
    /// Whether the user can request the consent here.
    pub(crate) requestable: bool,
}

/// Tells the user that an administrator was asked.
#[derive(Template)]
#[template(path = "approval_requested.html")]
pub(crate) struct ApprovalRequested<'a> {
    pub(crate) form: Form<'a>,
    pub(crate) username: &'a str,
}

/// Asks an administrator for consent on behalf of all users.
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
    /// Returns the requested permissions by resource.
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

/// Describes the tenants.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    /// The tenants and their issuers.
    pub(crate) tenants: Vec<(&'a Tenant, String)>,
}

/// An authorization response as a form that posts itself.
#[derive(Template)]
#[template(path = "form_post.html")]
pub(crate) struct FormPost<'a> {
    pub(crate) action: &'a str,
    pub(crate) fields: &'a [(&'static str, String)],
}
