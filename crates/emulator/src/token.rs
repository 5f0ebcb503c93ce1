//! `POST /{tenant}/oauth2/v2.0/token`: redeems a grant for tokens.
//!
//! `Parameters → Client → TokenGrant → Tokens`: each step requires the result of the one before.
//! One file per grant; `client` and `assertion` authenticate the client, `issue` issues the tokens.

mod assertion;
mod authorization_code;
mod client;
mod client_credentials;
mod device_code;
mod issue;
mod on_behalf_of;
mod refresh_token;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, header};

use crate::cors;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::page;
use crate::parameters::Parameters;
use crate::request_trace::RequestTrace;
use client::Client;
pub(crate) use issue::Tokens;

pub(crate) async fn post(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    token_response(&entra, &headers, redeem(&entra, &tenant, &headers, &body))
}

/// Rejects other methods.
pub(crate) async fn method_not_allowed(
    State(entra): State<Arc<Entra>>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    token_response(&entra, &headers, Err(Fault::NotPost(method.to_string())))
}

fn token_response(entra: &Entra, headers: &HeaderMap, result: Result<Tokens, Fault>) -> Response {
    let trace = RequestTrace::new(headers, entra.clock.now());
    let mut response = match result {
        Ok(tokens) => {
            let mut response = Json(tokens).into_response();
            trace.add_request_id(response.headers_mut());
            response
        }
        Err(fault) => trace.error_response(&entra.base, &fault),
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, page::no_store());
    out.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    if headers.contains_key(header::ORIGIN) {
        cors::allow(out);
    }
    response
}

fn redeem(entra: &Entra, tenant: &str, headers: &HeaderMap, body: &[u8]) -> Result<Tokens, Fault> {
    let parameters = Parameters::parse(body)?;
    let authority = entra.authority(tenant)?;
    let grant = Grant::parse(parameters.required("grant_type")?)?;
    let client = Client::authenticate(entra, authority, headers, &parameters)?;
    let token_grant = match grant {
        Grant::AuthorizationCode => authorization_code::redeem(entra, &client, &parameters)?,
        Grant::RefreshToken => refresh_token::redeem(entra, &client, &parameters)?,
        Grant::ClientCredentials => client_credentials::redeem(entra, &client, &parameters)?,
        Grant::OnBehalfOf => on_behalf_of::redeem(entra, &client, &parameters)?,
        Grant::DeviceCode => device_code::redeem(entra, &client, &parameters)?,
    };
    Tokens::issue(entra, &token_grant)
}

enum Grant {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
    OnBehalfOf,
    DeviceCode,
}

impl Grant {
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "authorization_code" => Ok(Self::AuthorizationCode),
            "refresh_token" => Ok(Self::RefreshToken),
            "client_credentials" => Ok(Self::ClientCredentials),
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => Ok(Self::OnBehalfOf),
            "urn:ietf:params:oauth:grant-type:device_code" | "device_code" => Ok(Self::DeviceCode),
            other => Err(Fault::UnsupportedGrant(other.to_owned())),
        }
    }
}
