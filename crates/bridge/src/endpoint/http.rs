//! The routes for hosts over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get, post};

use super::context::EndpointContext;
use super::processes::Processes;
use super::shared::Shared;
use super::{access, sse, streamable};

/// Serves `/{server}/mcp`, `/{server}/sse` and `/{server}/message`.
pub(super) fn routes(context: &Arc<EndpointContext>) -> Router {
    let shared = Shared {
        context: Arc::clone(context),
        streamable: Arc::default(),
        suspended: Arc::default(),
        sse: Arc::default(),
        processes: Processes::default(),
    };
    let (sweeper, shutdown) = (shared.clone(), context.background.shutdown().clone());
    let memory = context.to_hosts.clone();
    context.background.spawn(async move {
        tokio::select! {
            () = sweeper.streamable.sweep_expired() => {}
            () = sweeper.suspended.sweep_expired(&memory) => {}
            () = sweeper.sse.sweep_expired() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Router::new()
        .route(
            "/{server}/mcp",
            post(streamable::post)
                .get(streamable::get)
                .delete(streamable::delete),
        )
        .route("/{server}/sse", get(sse::open))
        .route("/{server}/message", post(sse::message))
        .fallback(any(async || {
            (
                StatusCode::NOT_FOUND,
                "hint: MCP is at /NAME/mcp and /NAME/sse\n",
            )
        }))
        .layer(middleware::from_fn(access::check))
        .with_state(shared)
}
