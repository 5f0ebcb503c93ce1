//! `/api/echo`: a sample API of every app in the emulator. It returns the claims of the token and
//! supports continuous access evaluation: tokens issued before a revocation get a claims challenge
//! (`insufficient_claims`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::claims::{BACKDATE, jwt};
use crate::entra::Entra;
use crate::page;

pub(crate) async fn echo(State(entra): State<Arc<Entra>>, headers: HeaderMap) -> Response {
    let mut response = match check_token(&entra, bearer(&headers)) {
        Ok(claims) => Json(claims).into_response(),
        Err(error) => error_response(&entra, &error),
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, page::no_store());
    response
}

/// Why a token is rejected.
enum EchoError {
    /// The request has no token.
    Missing,
    /// The signature, the audience or the lifetime is invalid.
    Invalid,
    /// The token was issued before this time, in seconds since 1970.
    Stale(u64),
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn check_token(entra: &Entra, token: Option<&str>) -> Result<Map<String, Value>, EchoError> {
    let token = token.ok_or(EchoError::Missing)?;
    let claims = read_claims(entra, token).ok_or(EchoError::Invalid)?;
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    let issued = number("iat").ok_or(EchoError::Invalid)? + BACKDATE;
    let user = claims.get("oid").and_then(Value::as_str);
    let user = user.and_then(|id| id.parse::<Uuid>().ok());
    match user.and_then(|user| entra.fault_rules.tokens_valid_from(user)) {
        Some(from) if issued < from => Err(EchoError::Stale(from)),
        Some(_) | None => Ok(claims),
    }
}

/// Returns the claims of an access token that is valid now for an app of the emulator. Otherwise
/// returns `None`.
fn read_claims(entra: &Entra, token: &str) -> Option<Map<String, Value>> {
    let claims: Map<String, Value> = jwt::read(entra, token)?;
    let audience = claims.get("aud")?.as_str()?;
    let is_live = entra.clock.unix() < claims.get("exp")?.as_u64()?;
    // Id tokens have the client id as audience, so they are excluded here.
    let is_access = claims.contains_key("azp") || claims.contains_key("appid");
    let mut apps = entra.cloud.registrations().map(|one| one.app);
    (is_live && is_access && apps.any(|app| app.takes(audience))).then_some(claims)
}

fn error_response(entra: &Entra, error: &EchoError) -> Response {
    let challenge = challenge(entra, error);
    let code = match error {
        EchoError::Missing | EchoError::Invalid => "InvalidAuthenticationToken",
        EchoError::Stale(_) => "TokenIssuedBeforeRevocationTimestamp",
    };
    let mut response = (
        StatusCode::UNAUTHORIZED,
        Json(json!({ "error": { "code": code } })),
    )
        .into_response();
    if let Ok(value) = HeaderValue::try_from(challenge) {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

fn challenge(entra: &Entra, error: &EchoError) -> String {
    let authorize = format!("{}/common/oauth2/v2.0/authorize", entra.base);
    let scheme = format!("Bearer realm=\"\", authorization_uri=\"{authorize}\"");
    match error {
        EchoError::Missing => scheme,
        EchoError::Invalid => format!("{scheme}, error=\"invalid_token\""),
        EchoError::Stale(from) => {
            let claims = json!({
                "access_token": { "nbf": { "essential": true, "value": from.to_string() } },
            });
            let claims = STANDARD.encode(claims.to_string());
            format!("{scheme}, error=\"insufficient_claims\", claims=\"{claims}\"")
        }
    }
}
