//! Redirects of the browser, and the status that each has.

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};

use super::response::OAuthError;

/// The kind of request that is answered by a redirect.
#[derive(Clone, Copy, Debug)]
pub(super) enum RedirectAfter {
    /// A navigation by GET.
    Navigation,
    /// A form that was sent by POST. The browser must not send it again to the target (RFC 9700
    /// §4.12).
    Form,
}

impl RedirectAfter {
    fn status(self) -> StatusCode {
        match self {
            Self::Navigation => StatusCode::FOUND,
            Self::Form => StatusCode::SEE_OTHER,
        }
    }
}

/// Sends the browser to `url`. The response is not cached, and its URL is not passed on as a referrer.
pub(super) fn redirect_to(after: RedirectAfter, url: &str) -> Response {
    let headers = [
        (LOCATION, url),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    match HeaderValue::try_from(url) {
        Ok(_) => (after.status(), headers).into_response(),
        Err(_) => OAuthError::bad_request("invalid_request", "The redirect has odd characters")
            .into_response(),
    }
}
