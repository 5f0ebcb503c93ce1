//! `/metadata/identity/oauth2/token`: what a machine in Azure asks for a token of its managed
//! identity (the instance metadata service, which real machines have at `http://169.254.169.254`).
//!
//! Clients find it here when `AZURE_POD_IDENTITY_AUTHORITY_HOST` names the emulator's base URL.

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

/// What the service answers: numbers as text. It holds a token, so it does not print.
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

/// Why not. The service speaks of itself, not of AADSTS numbers.
enum ImdsError {
    /// The header keeps requests out that a server was talked into.
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

/// The one that is named, by either id; if none is, the machine's only one.
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
