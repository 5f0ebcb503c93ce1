//! HTML pages: consent and errors. They have no script, load nothing from elsewhere and cannot be
//! framed.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, StatusCode};

use crate::denial::Denial;
use crate::gateway_state::GatewayState;
use crate::parameters::ParameterError;
use crate::rates::TooOften;
use crate::redirect::Destination;
use crate::scope::Scopes;
use crate::storage::StoreError;

/// The consent page.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct ConsentPage<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) host: &'a str,
    pub(crate) server: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) client_website: Option<&'a str>,
    pub(crate) client_id: &'a str,
    pub(crate) destination: &'a Destination,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scopes: &'a Scopes,
    /// The notice why the user is asked again.
    pub(crate) notice: Option<&'static str>,
    /// The sealed content of the form.
    pub(crate) request: &'a str,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    gateway: &'a str,
    host: &'a str,
    title: &'a str,
    text: &'a str,
    hint: &'a str,
    back: Option<&'a Back>,
}

/// A link back to the client.
#[derive(Debug)]
pub(crate) struct Back {
    /// The host of a website, or the scheme of an application with its host.
    pub(crate) place: String,
    pub(crate) url: String,
}

/// An error that the user at the browser sees, because no client may get it.
#[derive(Debug)]
pub(crate) enum PageError {
    Parameters(ParameterError),
    UnknownClient,
    UnknownRedirect,
    /// The request is rejected, and no user has consented to its client yet.
    Denied(Denial, Back),
    /// The form was already sent, is too old, or belongs to another browser.
    Expired,
    /// The browser that returns is not the one that approved, or it returns twice.
    OtherBrowser,
    /// Another site sent the form.
    CrossSite,
    /// The form is not one of the gateway.
    Form(StatusCode),
    /// Too many requests from this address or its network.
    TooOften(TooOften),
    Store(StoreError),
}

struct ErrorView {
    status: StatusCode,
    error: &'static str,
    title: &'static str,
    text: String,
    hint: &'static str,
    back: Option<Back>,
}

const TRY_AGAIN: &str = "Go back to the application and start the sign-in again.";
const TELL: &str = "If you did not expect this, close the page. Otherwise the application's \
    developer has to correct it.";

impl PageError {
    /// Returns a page for a browser, and JSON for a program.
    pub(crate) fn answer(self, gateway: &GatewayState, headers: &HeaderMap) -> Response {
        if let Self::Store(error) = &self {
            tracing::error!(%error, "the store failed");
        }
        let wait = self.wait();
        let told = self.describe();
        let mut response = if wants_html(headers) {
            let page = ErrorPage {
                gateway: &gateway.name,
                host: gateway.host(),
                title: told.title,
                text: &told.text,
                hint: told.hint,
                back: told.back.as_ref(),
            };
            html(told.status, &page, "'none'")
        } else {
            let body = serde_json::json!({"error": told.error, "error_description": told.text});
            (told.status, [(CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
        };
        if let Some(seconds) = wait {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    /// Returns true if the same request may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Store(_) | Self::TooOften(_))
    }

    /// Returns after how many seconds to retry, if a retry may succeed.
    fn wait(&self) -> Option<u64> {
        match self {
            Self::Store(_) => Some(5),
            Self::TooOften(too_often) => Some(too_often.seconds()),
            _ => None,
        }
    }

    fn describe(self) -> ErrorView {
        let told = |status, error, title, text: &str, hint| ErrorView {
            status,
            error,
            title,
            text: text.to_owned(),
            hint,
            back: None,
        };
        let (bad, forbidden) = (StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN);
        match self {
            Self::Parameters(error) => told(
                bad,
                "invalid_request",
                "Invalid sign-in request",
                &format!("The request of the application is invalid: {error}."),
                TELL,
            ),
            Self::UnknownClient => told(
                bad,
                "invalid_client",
                "This application is not known here",
                "The application's registration does not exist or has expired.",
                "Remove the server from the application and add it again, so that it registers again.",
            ),
            Self::UnknownRedirect => told(
                bad,
                "invalid_request",
                "This application may not receive the sign-in",
                "The application has not registered the redirect URI of this request.",
                TELL,
            ),
            Self::Denied(denial, back) => ErrorView {
                back: Some(back),
                ..told(
                    bad,
                    denial.error,
                    "This sign-in cannot begin",
                    &format!(
                        "The request of the application cannot be granted: {}.",
                        denial.description
                    ),
                    "No user has signed in with this application here yet. If you did not expect this, close the page.",
                )
            },
            Self::Expired => told(
                forbidden,
                "access_denied",
                "This request is no longer open",
                "It was already answered, has expired, or was opened in another browser.",
                TRY_AGAIN,
            ),
            Self::OtherBrowser => told(
                forbidden,
                "access_denied",
                "This sign-in did not begin here",
                "It was approved in another browser, is finished already, or took too long. \
                 Nothing was granted.",
                TRY_AGAIN,
            ),
            Self::CrossSite => told(
                forbidden,
                "access_denied",
                "This form was sent from another site",
                "Only this gateway's own page can allow or deny. Nothing was granted.",
                TRY_AGAIN,
            ),
            Self::Form(status) => told(
                status,
                "invalid_request",
                "This form cannot be read",
                "It does not come from this gateway's page. Nothing was granted.",
                TRY_AGAIN,
            ),
            Self::TooOften(_) => told(
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                "Too many sign-ins from your network",
                "The gateway accepts a limited number of them from one address. Nothing was granted.",
                "Wait a minute and load this page again.",
            ),
            Self::Store(_) => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The gateway cannot answer at the moment",
                "Its database is not available. Nothing was granted.",
                "Try again in a minute.",
            ),
        }
    }
}

impl From<ParameterError> for PageError {
    fn from(error: ParameterError) -> Self {
        Self::Parameters(error)
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Returns a page whose forms may lead to `form_action`.
pub(crate) fn html(status: StatusCode, page: &impl Template, form_action: &str) -> Response {
    let Ok(body) = page.render() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; \
         form-action {form_action}"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &policy),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer` browsers would send `Origin: null` with the form.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|text| text.split(','))
        .any(|kind| kind.trim().starts_with("text/html"))
}
