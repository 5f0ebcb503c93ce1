//! The access tokens of this gateway, and who a request with one comes from.
//!
//! Invariants: [`Authenticated`] is made here only, from a token that opened and a session that
//! lives. Every invalid token gets the same response.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use model::Parameters;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::crypto::Purpose;
use crate::gateway_state::GatewayState;
use crate::scope::Scopes;
use crate::sessions::{LiveSession, SessionError};
use crate::storage::Seconds;

/// How long an access token is valid, in seconds.
pub(crate) const LIFETIME: Seconds = 3600;

/// The sealed content of an access token.
#[derive(Serialize, Deserialize)]
struct Claims {
    session: String,
    scopes: Scopes,
    expires_at: Seconds,
}

/// Makes an access token for a session.
pub(crate) fn issue(gateway: &GatewayState, session: &str, scopes: &Scopes) -> SecretString {
    let claims = Claims {
        session: session.to_owned(),
        scopes: scopes.clone(),
        expires_at: gateway.now() + LIFETIME,
    };
    gateway.keys.seal_json(Purpose::AccessToken, &claims).into()
}

/// Returns the id of the session that an access token belongs to, also of a session that has ended.
/// Returns `None` if the token does not open.
pub(crate) fn session_of(gateway: &GatewayState, token: &str) -> Option<String> {
    let claims: Claims = gateway.keys.open_json(Purpose::AccessToken, token)?;
    Some(claims.session)
}

/// A caller with a valid access token.
pub(crate) struct Authenticated {
    session: Arc<LiveSession>,
    scopes: Scopes,
    expires_at: Seconds,
}

impl Authenticated {
    pub(crate) fn session(&self) -> &Arc<LiveSession> {
        &self.session
    }

    /// Returns the scopes of the token. They are never more than those of the session.
    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Returns when the token expires. No session expires before its tokens do.
    pub(crate) fn expires_at(&self) -> Seconds {
        self.expires_at
    }
}

/// Why a caller is rejected.
#[derive(Debug)]
pub(crate) enum BearerError {
    /// The request has no token.
    Anonymous,
    /// The token is invalid, has expired or was revoked.
    InvalidToken,
    /// The token is in the query, where logs and histories keep it.
    TokenInQuery,
    /// The gateway cannot check the token now.
    Unavailable,
}

/// Returns the caller that a request comes from (RFC 6750 §2.1).
pub(crate) async fn authenticate(
    gateway: &Arc<GatewayState>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Authenticated, BearerError> {
    if has_token(uri.query().unwrap_or_default()) {
        return Err(BearerError::TokenInQuery);
    }
    let token = bearer(headers)?;
    let claims: Option<Claims> = gateway.keys.open_json(Purpose::AccessToken, token);
    let claims = claims.filter(|claims| claims.expires_at > gateway.now());
    let claims = claims.ok_or(BearerError::InvalidToken)?;
    let session = gateway.sessions.find(&claims.session).await?;
    gateway.sessions.confirm(&session).await?;
    Ok(Authenticated {
        session,
        scopes: claims.scopes,
        expires_at: claims.expires_at,
    })
}

impl From<SessionError> for BearerError {
    fn from(lapse: SessionError) -> Self {
        match lapse {
            SessionError::Ended => Self::InvalidToken,
            SessionError::Unavailable(_) => Self::Unavailable,
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, BearerError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let first = given.next().ok_or(BearerError::Anonymous)?;
    if given.next().is_some() {
        return Err(BearerError::InvalidToken);
    }
    let (scheme, token) = first
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(BearerError::InvalidToken)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim_start_matches(' '))
    } else {
        Err(BearerError::InvalidToken)
    }
}

fn has_token(query: &str) -> bool {
    let parameters = Parameters::decode(query.as_bytes());
    parameters.first("access_token").is_some()
}
