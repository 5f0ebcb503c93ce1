//! The way to Entra, after a person approved.
//!
//! Invariants: the state sent to Entra is random, ours, good once and for ten minutes; it is
//! bound to a cookie of the browser that approved, so that a captured URL leads nowhere in
//! another one.

use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::App;
use super::request::{AuthorizationRequest, Denial, see};
use crate::cookies::Cookie;
use crate::crypto::{self, Digest, Purpose};
use crate::storage::StoredSignIn;
use crate::upstream::{Pending, UpstreamError};

/// How long a person may take at Entra, in seconds.
const OPEN: u64 = 10 * 60;

/// Why a request may go on to Entra.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Approval {
    /// The person at the browser said yes just now; whoever signs in consents by that.
    Given,
    /// This person said yes before. It counts only if they are who signs in.
    Remembered {
        /// The person's id.
        person: String,
    },
}

/// An approved request on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct SignIn {
    pub(super) request: AuthorizationRequest,
    pub(super) approval: Approval,
    pub(super) pending: Pending,
}

/// Sends the browser to Entra.
pub(super) async fn begin(
    app: &App,
    headers: &HeaderMap,
    request: AuthorizationRequest,
    approval: Approval,
    status: StatusCode,
) -> Response {
    let reply_to = request.reply_to.clone();
    let outcome = try_begin(app, headers, request, approval, status).await;
    outcome.unwrap_or_else(|error| {
        tracing::error!(%error, "a sign-in could not begin");
        let mut response = reply_to.deny(&app.issuer, &denial(&error));
        *response.status_mut() = status;
        response
    })
}

async fn try_begin(
    app: &App,
    headers: &HeaderMap,
    request: AuthorizationRequest,
    approval: Approval,
    status: StatusCode,
) -> Result<Response, UpstreamError> {
    let state = crypto::token();
    let prompt = request.prompt.clone();
    let (url, pending) = app
        .entra
        .begin(&state.clone().into(), prompt.as_deref())
        .await?;
    // A browser with several sign-ins under way keeps one value, so that none loses its cookie.
    let browser = app.cookies.read(&app.keys, Cookie::Approval, headers);
    let browser = browser.unwrap_or_else(crypto::token);
    let sign_in = SignIn {
        request,
        approval,
        pending,
    };
    let row = StoredSignIn {
        state: Digest::of(&state),
        approval: Digest::of(&browser),
        sealed: app.keys.seal_json(Purpose::SignIn, &sign_in),
        expires_at: app.now() + OPEN,
    };
    let stored = app.store.put_sign_in(row).await;
    stored.map_err(|error| UpstreamError::Unavailable(error.to_string()))?;
    let cookie = app.cookies.set(&app.keys, Cookie::Approval, &browser);
    Ok(([(SET_COOKIE, cookie)], see(status, &url)).into_response())
}

/// What a client is told when Entra does not do what was asked.
pub(super) fn denial(error: &UpstreamError) -> Denial {
    match error {
        UpstreamError::Unavailable(_) => Denial::new(
            "temporarily_unavailable",
            "The identity provider cannot be reached",
        ),
        UpstreamError::Rejected(error) => {
            let codes: String = error
                .error_codes
                .iter()
                .map(|code| format!(" (AADSTS{code})"))
                .collect();
            let text = format!("The identity provider refused the sign-in{codes}");
            Denial::new("access_denied", text)
        }
        UpstreamError::Over => Denial::new("access_denied", "The sign-in is over"),
        UpstreamError::ForeignTenant => {
            Denial::new("access_denied", "The person's tenant may not sign in here")
        }
        UpstreamError::Misconfigured(_) | UpstreamError::Untrusted(_) => Denial::new(
            "server_error",
            "The sign-in failed; the gateway's log says why",
        ),
    }
}
