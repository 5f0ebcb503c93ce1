//! Forwards requests to the MCP servers.
//!
//! `request → Authenticated → Permit → BackendCredential → backend`: each can be made only from the
//! one before. The caller's credential never goes further than the first step.

mod body;
mod error;
mod error_code;
mod headers;
mod mcp_session;
mod message_endpoint;
mod permit;
mod relay;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::gateway_state::GatewayState;

/// Returns the servers' endpoints.
pub(crate) fn router() -> Router<Arc<GatewayState>> {
    let streamable = || {
        post(relay::streamable)
            .get(relay::streamable)
            .delete(relay::streamable)
            .options(relay::preflight)
    };
    Router::new()
        .route("/{server}/mcp", streamable())
        .route("/{server}/sse", get(relay::sse).options(relay::preflight))
        .route(
            "/{server}/message",
            post(relay::message).options(relay::preflight),
        )
        .route("/mcp", streamable())
        .route("/mcp/sse", get(relay::sse).options(relay::preflight))
        .route(
            "/mcp/message",
            post(relay::message).options(relay::preflight),
        )
        .fallback(relay::nowhere)
}
