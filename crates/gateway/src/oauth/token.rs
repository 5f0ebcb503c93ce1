//! `POST /token`: redeems a code or a refresh token for an access token (RFC 6749 §4.1.3 and §6).
//!
//! Invariants: the first request spends a code, and a second one ends the session that the first one
//! opened. A refresh token is spent likewise, but a lost response is repeated for a short time.
//! Nothing is granted beyond what the user agreed to.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use model::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::response::{self, Gateway, OAuthError};
use crate::bearer;
use crate::crypto::{self, Digest, Purpose};
use crate::parameters::{ParameterError, Parameters};
use crate::scope::Scopes;
use crate::sessions::{LiveSession, SessionError};
use crate::storage::{Misfit, Presented, RedeemedCode, RefreshToken, Rotation, SpentRefreshToken};
use crate::visitors::Visitor;

/// How long an unused refresh token is valid, in seconds.
const REFRESH_LIFE: u64 = 90 * 24 * 60 * 60;

/// A token response (RFC 6749 §5.1).
#[derive(Serialize)]
struct Issued {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    scope: String,
}

impl Issued {
    fn new(gateway: &Gateway, session: &str, scopes: &Scopes, refresh: &SecretString) -> Self {
        Self {
            access_token: bearer::issue(gateway, session, scopes)
                .expose_secret()
                .to_owned(),
            token_type: "Bearer",
            expires_in: bearer::LIFETIME,
            refresh_token: refresh.expose_secret().to_owned(),
            scope: scopes.to_string(),
        }
    }
}

pub(super) async fn token(
    gateway: Gateway,
    visitor: Visitor,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = response::body(&headers, "application/x-www-form-urlencoded", body).await;
    let issued = match body {
        Ok(body) => {
            let issuer = gateway.clone();
            response::finish(
                &gateway,
                async move { issue(&issuer, &visitor, &body).await },
            )
            .await
        }
        Err(error) => Err(error),
    };
    match issued {
        Ok(issued) => response::json(StatusCode::OK, &issued),
        Err(error) => error.into_response(),
    }
}

async fn issue(gateway: &Gateway, visitor: &Visitor, body: &[u8]) -> Result<Issued, OAuthError> {
    let form = Parameters::parse(body)?;
    match form.require("grant_type")? {
        "authorization_code" => redeem(gateway, visitor, &form).await,
        "refresh_token" => refresh(gateway, &form).await,
        _ => Err(OAuthError::bad_request(
            "unsupported_grant_type",
            "The grant_type has to be authorization_code or refresh_token",
        )),
    }
}

async fn redeem(
    gateway: &Gateway,
    visitor: &Visitor,
    form: &Parameters,
) -> Result<Issued, OAuthError> {
    let presented = Presented {
        client: form.require("client_id")?.to_owned(),
        redirect_uri: form.get("redirect_uri").map(str::to_owned),
        challenge: challenge_of(form.require("code_verifier")?),
        server: resource(gateway, form)?,
    };
    let code = Digest::of(form.require("code")?);
    let (refresh, row) = new_refresh_token(gateway);
    let redeemed = gateway
        .store
        .redeem_code(code, presented, row, gateway.now());
    match redeemed.await? {
        RedeemedCode::Granted { session, scopes } => {
            Ok(Issued::new(gateway, &session, &scopes, &refresh))
        }
        RedeemedCode::Refused(session, misfit) => {
            gateway.sessions.record_end(&session);
            Err(match misfit {
                Misfit::Client => invalid_grant(),
                Misfit::Server => invalid_target(),
            })
        }
        RedeemedCode::Replayed(session) => {
            tracing::warn!(session, "a code was used twice; its session ends");
            gateway.sessions.record_end(&session);
            Err(invalid_grant())
        }
        RedeemedCode::Unknown => Err(wrong_code(gateway, visitor)),
    }
}

/// Returns the error for an invalid code. Beyond the rate limit, the visitor has to wait. A valid code
/// is never rejected for that, because other users may share the address.
fn wrong_code(gateway: &Gateway, visitor: &Visitor) -> OAuthError {
    let counted = gateway.rates.wrong_codes.count(visitor);
    counted.map_or_else(OAuthError::too_often, |()| invalid_grant())
}

/// Returns the challenge for a verifier (RFC 7636 §4.1 and §4.2), or `None` if it is malformed.
fn challenge_of(verifier: &str) -> Option<String> {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let is_well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    is_well_formed.then(|| crypto::s256(verifier))
}

async fn refresh(gateway: &Gateway, form: &Parameters) -> Result<Issued, OAuthError> {
    let client = form.require("client_id")?;
    let digest = Digest::of(form.require("refresh_token")?);
    let id = gateway
        .store
        .session_of_refresh_token(digest, gateway.now())
        .await?;
    let session = gateway
        .sessions
        .find(&id.ok_or_else(invalid_grant)?)
        .await?;
    if session.client != client {
        return Err(invalid_grant());
    }
    check_resource(resource(gateway, form)?.as_ref(), &session.server)?;
    let scopes = narrowed(form, &session.scopes)?;
    // Done before the token is spent, so that the client can retry after a temporary failure.
    gateway.sessions.refresh_if_due(&session).await?;
    let refresh = rotate(gateway, &session, digest).await?;
    Ok(Issued::new(gateway, &session.id, &scopes, &refresh))
}

async fn rotate(
    gateway: &Gateway,
    session: &LiveSession,
    digest: Digest,
) -> Result<SecretString, OAuthError> {
    let (next, row) = new_refresh_token(gateway);
    let spent = SpentRefreshToken {
        digest,
        session: session.id.clone(),
    };
    match gateway.store.rotate(spent, row, gateway.now()).await? {
        Rotation::Rotated => Ok(next),
        Rotation::Repeated(sealed) => {
            let next: Option<String> = gateway.keys.open_json(Purpose::Successor, &sealed);
            next.map(SecretString::from).ok_or_else(invalid_grant)
        }
        Rotation::Reused => {
            tracing::warn!(
                session = session.id,
                "a refresh token was used twice; its session ends"
            );
            gateway.sessions.record_end(&session.id);
            Err(invalid_grant())
        }
        Rotation::Gone => Err(invalid_grant()),
    }
}

fn new_refresh_token(gateway: &Gateway) -> (SecretString, RefreshToken) {
    let token = crypto::token();
    let row = RefreshToken {
        digest: Digest::of(&token),
        sealed: gateway.keys.seal_json(Purpose::Successor, &token),
        expires_at: gateway.now() + REFRESH_LIFE,
    };
    (token.into(), row)
}

/// Returns the server of the `resource`, if one is named.
fn resource(gateway: &Gateway, form: &Parameters) -> Result<Option<ServerName>, OAuthError> {
    let Some(resource) = form.get("resource") else {
        return Ok(None);
    };
    let server = gateway
        .servers
        .of_resource(resource)
        .ok_or_else(invalid_target)?;
    Ok(Some(server.name.clone()))
}

/// Checks that `resource` names the granted server (RFC 8707 §2.2).
fn check_resource(asked: Option<&ServerName>, granted: &ServerName) -> Result<(), OAuthError> {
    if asked.is_none_or(|asked| asked == granted) {
        Ok(())
    } else {
        Err(invalid_target())
    }
}

fn invalid_target() -> OAuthError {
    OAuthError::bad_request(
        "invalid_target",
        "The resource is not the one that was granted",
    )
}

/// Returns the scopes of a refresh. It may request fewer than were granted, never more (RFC 6749 §6).
fn narrowed(form: &Parameters, granted: &Scopes) -> Result<Scopes, OAuthError> {
    let asked = Scopes::from_words(form.get("scope").unwrap_or_default());
    crate::scope::decide(&asked, granted).map_err(|_| {
        OAuthError::bad_request("invalid_scope", "The scope is more than what was granted")
    })
}

/// Returns the error for every kind of invalid code or refresh token.
fn invalid_grant() -> OAuthError {
    let text = "The code or refresh token is unknown, used, expired or for another client";
    OAuthError::bad_request("invalid_grant", text)
}

impl From<SessionError> for OAuthError {
    fn from(lapse: SessionError) -> Self {
        match lapse {
            SessionError::Ended => invalid_grant(),
            SessionError::Unavailable(_) => Self::unavailable(),
        }
    }
}

impl From<ParameterError> for OAuthError {
    fn from(error: ParameterError) -> Self {
        Self::bad_request("invalid_request", error.to_string())
    }
}
