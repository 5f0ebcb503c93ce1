//! `GET /.well-known/oauth-protected-resource[/…]` (RFC 9728), by path insertion.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use serde_json::json;

use super::response::Gateway;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Returns the metadata. Its `resource` equals the requested one byte for byte, because clients
/// compare them.
pub(super) async fn metadata(gateway: Gateway, uri: Uri) -> Response {
    let path = uri.path().strip_prefix(WELL_KNOWN).unwrap_or_default();
    let Some(server) = gateway.servers.of_path(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    Json(json!({
        "resource": format!("{}{path}", gateway.issuer),
        "resource_name": server.title,
        "authorization_servers": [gateway.issuer],
        "scopes_supported": server.scopes,
        "bearer_methods_supported": ["header"],
    }))
    .into_response()
}

/// Returns the URL of the metadata of the resource at `path`.
pub(crate) fn metadata_url(issuer: &str, path: &str) -> String {
    format!("{issuer}{WELL_KNOWN}{path}")
}
