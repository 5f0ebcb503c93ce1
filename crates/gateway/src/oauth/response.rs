//! JSON responses. They are never cached, and errors have the form of RFC 6749 §5.2.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;

use crate::bearer::BearerError;
use crate::rates::TooOften;
use crate::storage::StoreError;

/// The maximum size of a request body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a request body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(15);

const NO_STORE: [(HeaderName, &str); 2] = [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];

/// Returns a JSON response that caches must not store.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    (status, NO_STORE, Json(value)).into_response()
}

/// An OAuth error.
#[derive(Debug)]
pub(super) struct OAuthError {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) description: String,
    /// After how many seconds to retry, if a retry may succeed.
    wait: Option<u64>,
}

impl OAuthError {
    pub(super) fn bad_request(error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description: description.into(),
            wait: None,
        }
    }

    /// Creates the error for a request that may succeed later.
    pub(super) fn unavailable() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "temporarily_unavailable",
            description: "This cannot be answered at the moment; try again".to_owned(),
            wait: Some(5),
        }
    }

    /// Creates the error for a visitor that has to wait.
    pub(super) fn too_often(too_often: TooOften) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            error: "temporarily_unavailable",
            description: "There are too many requests from your network; try again later"
                .to_owned(),
            wait: Some(too_often.seconds()),
        }
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::unavailable()
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "error": self.error,
            "error_description": self.description,
        });
        let mut response = json(self.status, &body);
        if let Some(seconds) = self.wait {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Returns the error response for a bearer token at the gateway's own endpoints (RFC 6750 §3).
pub(super) fn refuse(refusal: &BearerError) -> Response {
    let (status, challenge) = match refusal {
        BearerError::Anonymous => (StatusCode::UNAUTHORIZED, "Bearer"),
        BearerError::InvalidToken => (StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
        BearerError::TokenInQuery => (StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\""),
        BearerError::Unavailable => return OAuthError::unavailable().into_response(),
    };
    (status, NO_STORE, [(WWW_AUTHENTICATE, challenge)]).into_response()
}

/// Runs work to its end, even if the caller disconnects meanwhile.
pub(super) async fn finish<T: Send + 'static>(
    gateway: &Gateway,
    work: impl Future<Output = Result<T, OAuthError>> + Send + 'static,
) -> Result<T, OAuthError> {
    let done = gateway.tasks.spawn(work).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "a request was aborted");
        Err(OAuthError::unavailable())
    })
}

/// Returns the body of a request, which must be of `content_type`.
pub(super) async fn body(
    headers: &HeaderMap,
    content_type: &str,
    body: Body,
) -> Result<bytes::Bytes, OAuthError> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let given = given.map(|text| text.split(';').next().unwrap_or_default().trim());
    if !given.is_some_and(|given| given.eq_ignore_ascii_case(content_type)) {
        let description = format!("The Content-Type has to be {content_type}");
        return Err(OAuthError::bad_request("invalid_request", description));
    }
    let read = tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, MAX_BODY)).await;
    let (status, description) = match read {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(_)) => {
            let text = format!("The body is larger than {MAX_BODY} bytes, or broke off");
            (StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "The body did not come in time".to_owned(),
        ),
    };
    Err(OAuthError {
        status,
        error: "invalid_request",
        description,
        wait: None,
    })
}

/// The state of every handler.
pub(super) type Gateway = axum::extract::State<Arc<crate::gateway_state::GatewayState>>;
