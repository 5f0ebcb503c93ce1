//! `/metadata/identity/oauth2/token`: the Azure instance metadata service, which issues tokens of a
//! machine's managed identity. In Azure it is at `http://169.254.169.254`.
//!
//! Clients use the emulator if `AZURE_POD_IDENTITY_AUTHORITY_HOST` contains its base URL.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::claims_request::ClaimsRequest;
use crate::cloud::Identity;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::page::no_store;
use crate::parameters::Parameters;
use crate::scope::Scopes;
use crate::token::Tokens;
use crate::token_grant::{
    ApplicationSubject, ClientAuthentication, ClientIdentity, Subject, TokenGrant,
};

/// The response of the service, with numbers as text. It contains a token, so it has no `Debug`.
#[derive(Serialize)]
struct ImdsResponse {
    access_token: String,
    client_id: String,
    expires_in: String,
    expires_on: String,
    ext_expires_in: String,
    not_before: String,
    resource: String,
    token_type: &'static str,
}

/// An error of the service. It has no AADSTS number.
enum ImdsError {
    /// The required header is missing. It protects against request forgery through a server (SSRF).
    NoHeader,
    NoIdentity,
    Malformed(String),
}

pub(crate) async fn token(
    State(entra): State<Arc<Entra>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut response = match issue_token(&entra, &headers, &query.unwrap_or_default()) {
        Ok(tokens) => Json(tokens).into_response(),
        Err(error) => error.into_response(),
    };
    let out = response.headers_mut();
    out.insert(http::header::CACHE_CONTROL, no_store());
    response
}

fn issue_token(entra: &Entra, headers: &HeaderMap, query: &str) -> Result<ImdsResponse, ImdsError> {
    if headers.get("metadata").is_none_or(|value| value != "true") {
        return Err(ImdsError::NoHeader);
    }
    let parameters = Parameters::parse(query.as_bytes())?;
    parameters.required("api-version")?;
    let resource = parameters.required("resource")?;
    let identity = identity(entra, &parameters).ok_or(ImdsError::NoIdentity)?;
    let tokens = Tokens::issue(entra, &token_grant(entra, identity, resource)?)?;
    let now = entra.clock.unix();
    Ok(ImdsResponse {
        client_id: identity.identity.client_id.to_string(),
        expires_in: tokens.expires_in.to_string(),
        expires_on: (now + tokens.expires_in).to_string(),
        ext_expires_in: tokens.ext_expires_in.to_string(),
        not_before: now.to_string(),
        resource: resource.to_owned(),
        token_type: "Bearer",
        access_token: tokens.access_token,
    })
}

/// Returns the identity with the requested client id or object id. Without either, it returns the
/// only identity. Returns `None` if none or several match.
fn identity<'e>(entra: &'e Entra, parameters: &Parameters) -> Option<Identity<'e>> {
    let client_id = parameters.optional("client_id");
    let object_id = parameters.optional("object_id");
    let is =
        |wanted: Option<&str>, id: uuid::Uuid| wanted.is_none_or(|wanted| wanted.parse() == Ok(id));
    let mut matching = entra.cloud.identities().filter(|one| {
        is(client_id, one.identity.client_id) && is(object_id, one.identity.object_id)
    });
    let first = matching.next();
    first.filter(|_| matching.next().is_none())
}

fn token_grant<'e>(
    entra: &'e Entra,
    Identity { tenant, identity }: Identity<'e>,
    resource: &str,
) -> Result<TokenGrant<'e>, Fault> {
    let authority = entra.authority(&tenant.id.to_string())?;
    Ok(TokenGrant {
        identity: ClientIdentity {
            id: identity.client_id,
            name: &identity.name,
            authentication: ClientAuthentication::Assertion,
        },
        subject: Subject::Application(ApplicationSubject {
            tenant,
            object_id: identity.object_id,
        }),
        requested: Scopes::all_granted_of(authority, resource)?,
        claims: ClaimsRequest::default(),
    })
}

impl From<Fault> for ImdsError {
    fn from(fault: Fault) -> Self {
        Self::Malformed(fault.to_string())
    }
}

impl IntoResponse for ImdsError {
    fn into_response(self) -> Response {
        let text = match self {
            Self::NoHeader => "Required metadata header not specified".to_owned(),
            Self::NoIdentity => "Identity not found".to_owned(),
            Self::Malformed(text) => text,
        };
        let body = json!({ "error": "invalid_request", "error_description": text });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}
