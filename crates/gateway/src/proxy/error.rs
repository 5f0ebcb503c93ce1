//! The error responses of the proxy.
//!
//! Bodies are JSON-RPC errors, because MCP clients can show these. They contain nothing of a backend's
//! address or credential.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::error_code::ErrorKind;
use crate::backends::MAX_REQUEST_BODY;
use crate::bearer::BearerError;
use crate::gateway_state::GatewayState;
use crate::oauth::metadata_url;
use crate::scope::Scopes;
use crate::servers::Server;

/// Why a request gets no response from a backend.
#[derive(Debug)]
pub(super) enum ProxyError {
    /// The request comes from a web page whose origin is not allowed.
    ForeignOrigin,
    NoSuchServer,
    /// The request has no token: the caller has to sign in.
    Anonymous,
    /// The token is invalid, for any reason.
    InvalidToken,
    TokenInQuery,
    /// The token lacks these scopes.
    MissingScopes(Scopes),
    /// The `Mcp-Session-Id` or message endpoint does not belong to this caller.
    UnknownSession,
    TooLarge,
    /// The gateway cannot check the session now.
    Unconfirmed,
    /// The backend cannot be reached.
    BackendDown,
    /// The backend did not respond in time.
    BackendSlow,
    /// The backend requires something that the caller cannot provide.
    BackendRefused,
    /// Sessions use all connections that the gateway may have.
    Full,
    /// The gateway stops, and the request was not sent to the backend.
    Ending,
    /// The gateway stops, and the request was sent to the backend, which has not responded.
    CutOff,
}

/// The target of the failed request.
pub(super) struct RequestTarget<'a> {
    pub(super) gateway: &'a GatewayState,
    pub(super) server: Option<&'a Server>,
    /// The path of the protected resource.
    pub(super) resource: &'a str,
}

struct ErrorDescription {
    status: StatusCode,
    kind: ErrorKind,
    message: String,
    hint: &'static str,
}

impl From<BearerError> for ProxyError {
    fn from(refusal: BearerError) -> Self {
        match refusal {
            BearerError::Anonymous => Self::Anonymous,
            BearerError::InvalidToken => Self::InvalidToken,
            BearerError::TokenInQuery => Self::TokenInQuery,
            BearerError::Unavailable => Self::Unconfirmed,
        }
    }
}

impl ProxyError {
    pub(super) fn answer(&self, target: &RequestTarget<'_>) -> Response {
        let description = match target.server {
            Some(server) => self.describe(&server.title),
            // Without a server, the message names the gateway.
            None => self.describe(&target.gateway.issuer),
        };
        let server = target.server.map(|server| server.name.as_str());
        let body = json!({
            "jsonrpc": "2.0",
            "id": null,
            "error": {
                "code": description.kind.code(),
                "message": description.message,
                "data": { "kind": description.kind, "server": server, "hint": description.hint },
            },
        });
        let mut response = (
            description.status,
            [(CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response();
        if let Some(challenge) = self.challenge(target) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if description.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, 5.into());
        }
        response
    }

    /// Returns the challenge (RFC 6750 §3), with the URL of the metadata (RFC 9728 §5.1).
    fn challenge(&self, target: &RequestTarget<'_>) -> Option<HeaderValue> {
        let error = match self {
            Self::Anonymous => "",
            Self::InvalidToken => "error=\"invalid_token\", ",
            Self::TokenInQuery => "error=\"invalid_request\", ",
            Self::MissingScopes(_) => "error=\"insufficient_scope\", ",
            _ => return None,
        };
        // Names all scopes that the server requires, not only the missing ones. A client may request
        // exactly these, and would otherwise lose the scopes that it has.
        let scopes = target
            .server
            .map(|server| server.scopes.to_string())
            .unwrap_or_default();
        let metadata = metadata_url(&target.gateway.issuer, target.resource);
        let text = format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"{scopes}\"");
        HeaderValue::try_from(text).ok()
    }

    /// Returns the message and the hint, about the server with this title, or about the gateway at
    /// this address.
    fn describe(&self, server: &str) -> ErrorDescription {
        let description = |status, kind, message: String, hint| ErrorDescription {
            status,
            kind,
            message,
            hint,
        };
        match self {
            Self::ForeignOrigin => description(
                StatusCode::FORBIDDEN,
                ErrorKind::ForeignOrigin,
                "Web pages of this origin may not call the gateway".to_owned(),
                "ask the gateway operator to add the origin to allowed_origins",
            ),
            Self::NoSuchServer => description(
                StatusCode::NOT_FOUND,
                ErrorKind::NoSuchServer,
                format!("no such server at this gateway ({server})"),
                "check the path of the server's URL; it usually ends in /mcp",
            ),
            Self::Anonymous | Self::InvalidToken => description(
                StatusCode::UNAUTHORIZED,
                ErrorKind::SignInNeeded,
                format!("{server} needs a sign-in"),
                "sign in again",
            ),
            Self::TokenInQuery => description(
                StatusCode::BAD_REQUEST,
                ErrorKind::TokenInQuery,
                "A token in the URL is not accepted".to_owned(),
                "send it in the Authorization header, and revoke this one",
            ),
            Self::MissingScopes(missing) => description(
                StatusCode::FORBIDDEN,
                ErrorKind::InsufficientScope,
                format!("{server} needs further permissions: {missing}"),
                "sign in again and allow them",
            ),
            Self::UnknownSession => description(
                StatusCode::NOT_FOUND,
                ErrorKind::UnknownSession,
                format!("{server} has no such session for this client"),
                "initialize a new session",
            ),
            Self::TooLarge => description(
                StatusCode::PAYLOAD_TOO_LARGE,
                ErrorKind::TooLarge,
                format!("The request is larger than {} MiB", MAX_REQUEST_BODY >> 20),
                "send less at once",
            ),
            Self::Unconfirmed => description(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::Unconfirmed,
                "The session cannot be confirmed at the moment".to_owned(),
                "try again in a few seconds",
            ),
            Self::BackendDown => description(
                StatusCode::BAD_GATEWAY,
                ErrorKind::ServerDown,
                format!("{server} does not answer"),
                "try again later, or tell its operator",
            ),
            Self::BackendSlow => description(
                StatusCode::GATEWAY_TIMEOUT,
                ErrorKind::ServerSlow,
                format!("{server} took too long to answer"),
                "ask for less at once, or tell its operator",
            ),
            Self::BackendRefused => description(
                StatusCode::BAD_GATEWAY,
                ErrorKind::ServerMisconfigured,
                format!("{server} does not take requests from the gateway"),
                "ask the gateway operator to check the url and headers of this server",
            ),
            Self::Full => description(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::GatewayFull,
                "All connections of the gateway are in use".to_owned(),
                "try again in a few seconds, or ask the gateway operator to raise max_connections",
            ),
            Self::Ending => description(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::GatewayEnds,
                "The gateway shuts down or restarts. The call was not carried out".to_owned(),
                "send it again in a few seconds",
            ),
            Self::CutOff => description(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::GatewayEnds,
                format!(
                    "The gateway shuts down or restarts. {server} may have carried out the call"
                ),
                "find out before you send it again",
            ),
        }
    }
}
