//! What a caller is told who does not get through, or whose server does not answer.
//!
//! Bodies are JSON-RPC errors, because that is what an MCP client can show; nothing of a
//! backend's address or credential is in them.

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

/// Why a request is not answered by a backend.
#[derive(Debug)]
pub(super) enum ProxyError {
    /// A web page of an origin that is not allowed.
    ForeignOrigin,
    NoSuchServer,
    /// No token; the caller has to sign in.
    Anonymous,
    /// A token that is no good, for whatever reason.
    InvalidToken,
    TokenInQuery,
    /// The token lacks these scopes.
    MissingScopes(Scopes),
    /// An `Mcp-Session-Id` or message endpoint that this caller was not given.
    UnknownSession,
    TooLarge,
    /// There is no way to tell whether the session is good.
    Unconfirmed,
    /// The backend is not there.
    BackendDown,
    /// The backend did not begin to answer.
    BackendSlow,
    /// The backend wants something the caller cannot give.
    BackendRefused,
    /// Sessions use all connections that the gateway may have.
    Full,
    /// The gateway ends, and the backend was not asked.
    Ending,
    /// The gateway ends, and the backend was asked but did not begin to answer.
    CutOff,
}

/// The request that an error answers.
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
            // Then it is the gateway that has to be named.
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

    /// RFC 6750 section 3, with the address of the metadata (RFC 9728 section 5.1).
    fn challenge(&self, target: &RequestTarget<'_>) -> Option<HeaderValue> {
        let error = match self {
            Self::Anonymous => "",
            Self::InvalidToken => "error=\"invalid_token\", ",
            Self::TokenInQuery => "error=\"invalid_request\", ",
            Self::MissingScopes(_) => "error=\"insufficient_scope\", ",
            _ => return None,
        };
        // All that the server needs, not only what is missing: a client may ask for just that,
        // and would then lack what it has now.
        let scopes = target
            .server
            .map(|server| server.scopes.to_string())
            .unwrap_or_default();
        let metadata = metadata_url(&target.gateway.issuer, target.resource);
        let text = format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"{scopes}\"");
        HeaderValue::try_from(text).ok()
    }

    /// In words, about the server of this title, or about the gateway at this address.
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
