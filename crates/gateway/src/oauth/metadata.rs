//! `GET /.well-known/oauth-authorization-server` (RFC 8414): lists only what exists.

use axum::Json;
use serde_json::{Value, json};

use super::response::Gateway;

pub(super) async fn metadata(gateway: Gateway) -> Json<Value> {
    let issuer = &gateway.issuer;
    let url = |path: &str| format!("{issuer}{path}");
    let mut scopes = gateway.servers.scopes().into_vec();
    scopes.push("offline_access".to_owned());
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": url("/authorize"),
        "token_endpoint": url("/token"),
        "registration_endpoint": url("/register"),
        "revocation_endpoint": url("/revoke"),
        "userinfo_endpoint": url("/userinfo"),
        "consents_endpoint": url("/account/consents"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true,
    }))
}
