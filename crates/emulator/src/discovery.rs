//! `/{tenant}/v2.0/.well-known/openid-configuration` and `/{tenant}/discovery/v2.0/keys`.
//!
//! The metadata omits what Entra omits: `code_challenge_methods_supported`, `registration_endpoint`
//! and `grant_types_supported`. `/.well-known/oauth-authorization-server` does not exist.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::cors;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::request_trace::RequestTrace;

pub(crate) async fn configuration(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    let document = entra
        .authority(&tenant)
        .map(|authority| document(&entra, authority));
    metadata_response(&entra, &headers, document, Some("invalid_tenant"))
}

pub(crate) async fn keys(
    State(entra): State<Arc<Entra>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    let set = entra
        .authority(&tenant)
        .map(|authority| key_set(&entra, authority));
    metadata_response(&entra, &headers, set, Some("invalid_tenant"))
}

/// Returns a public document, or the fault. If `error` is set, it replaces the OAuth error of the
/// fault.
pub(crate) fn metadata_response(
    entra: &Entra,
    headers: &HeaderMap,
    document: Result<Value, Fault>,
    error: Option<&'static str>,
) -> Response {
    let trace = RequestTrace::new(headers, entra.clock.now());
    let mut response = match document {
        Ok(document) => Json(document).into_response(),
        Err(fault) => {
            let error = error.unwrap_or_else(|| fault.error());
            return trace.error_response_as(&entra.base, &fault, error);
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=86400, private"),
    );
    cors::allow(headers);
    trace.add_request_id(headers);
    response
}

fn document(entra: &Entra, authority: Authority<'_>) -> Value {
    let base = &entra.base;
    let here = format!("{base}/{}", authority.segment());
    json!({
        "token_endpoint": format!("{here}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": [
            "client_secret_post", "private_key_jwt", "client_secret_basic",
            "self_signed_tls_client_auth",
        ],
        "jwks_uri": format!("{here}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": entra.issuer_at(authority),
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": format!("{base}/oidc/userinfo"),
        "authorization_endpoint": format!("{here}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{here}/oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{here}/oauth2/v2.0/logout"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name",
            "cloud_graph_host_name", "msgraph_host", "aud", "exp", "iat", "auth_time", "acr",
            "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email",
        ],
        "kerberos_endpoint": format!("{here}/kerberos"),
        "mtls_endpoint_aliases": { "token_endpoint": format!("{here}/oauth2/v2.0/token") },
        "tls_client_certificate_bound_access_tokens": true,
        "tenant_region_scope": "EU",
        "cloud_instance_name": "emulator.localhost",
        "cloud_graph_host_name": "emulator.localhost",
        "msgraph_host": "emulator.localhost",
        "rbac_url": base,
    })
}

fn key_set(entra: &Entra, authority: Authority<'_>) -> Value {
    let issuer = entra.issuer_at(authority);
    let keys: Vec<Value> = entra
        .keys
        .signing()
        .iter()
        .map(|key| {
            json!({
                "kty": "RSA", "use": "sig", "kid": key.kid, "n": key.n, "e": key.e,
                "cloud_instance_name": "emulator.localhost", "issuer": issuer,
            })
        })
        .collect();
    json!({ "keys": keys })
}
