//! The access check: validates the functions key and identifies the user.
//!
//! Invariant: only this module creates a [`User`], after it has validated the functions key. Every
//! request that reaches a tool carries one in its extensions. No other module reads the two
//! headers.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use subtle::ConstantTimeEq as _;

const KEY_HEADER: &str = "x-functions-key";
const USER_HEADER: &str = "x-postern-user";

/// The user whose snippets a request reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// No user header. All requests without one share these snippets.
    Anonymous,
    /// The bytes of the user header, as the gateway sent them.
    Named(Vec<u8>),
}

impl User {
    /// Returns the name of this user's folder. It is safe for any header value and unique to the
    /// user.
    pub(crate) fn folder(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Named(id) => format!("user-{}", fingerprint(id)),
        }
    }
}

/// Returns the SHA-256 in lower-case hexadecimal: a file name of 64 plain characters for any bytes.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Passes a request on if it carries the functions key, and attaches its [`User`].
pub(crate) async fn require_key(
    State(key): State<Arc<SecretString>>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticate(request.headers(), &key) {
        Ok(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Answers requests for unknown paths.
pub(crate) async fn not_found() -> AccessError {
    AccessError::UnknownPath
}

fn authenticate(headers: &HeaderMap, key: &SecretString) -> Result<User, AccessError> {
    let sent = headers.get(KEY_HEADER).ok_or(AccessError::KeyMissing)?;
    if !bool::from(sent.as_bytes().ct_eq(key.expose_secret().as_bytes())) {
        return Err(AccessError::KeyWrong);
    }
    user(headers)
}

fn user(headers: &HeaderMap) -> Result<User, AccessError> {
    let mut sent = headers.get_all(USER_HEADER).iter();
    match (sent.next(), sent.next()) {
        (None, _) => Ok(User::Anonymous),
        (Some(id), None) if !id.is_empty() => Ok(User::Named(id.as_bytes().to_vec())),
        (Some(_), _) => Err(AccessError::AmbiguousUser),
    }
}

/// Why the access check rejects a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccessError {
    /// No functions key was sent.
    KeyMissing,
    /// The functions key is not this server's.
    KeyWrong,
    /// The user header is empty or was sent more than once.
    AmbiguousUser,
    /// The server has no endpoint at this path.
    UnknownPath,
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    message: &'static str,
    hint: &'static str,
}

impl IntoResponse for AccessError {
    fn into_response(self) -> Response {
        let (status, error, message, hint) = match self {
            Self::KeyMissing => (
                StatusCode::UNAUTHORIZED,
                "functions_key_missing",
                "the request has no functions key, which this server requires",
                "send the key as the header x-functions-key; behind the gateway, set it as the server's backend header",
            ),
            Self::KeyWrong => (
                StatusCode::UNAUTHORIZED,
                "functions_key_wrong",
                "the functions key of the request is not this server's",
                "compare the gateway's secret with the key this server was started with",
            ),
            Self::AmbiguousUser => (
                StatusCode::BAD_REQUEST,
                "user_unclear",
                "the header x-postern-user is empty or was sent more than once",
                "send it once, or leave it out for the shared anonymous user",
            ),
            Self::UnknownPath => (
                StatusCode::NOT_FOUND,
                "unknown_path",
                "there is nothing at this path",
                "MCP is served at /mcp and, in its older form, at /sse",
            ),
        };
        (
            status,
            Json(ErrorBody {
                error,
                message,
                hint,
            }),
        )
            .into_response()
    }
}
