//! The routes for hosts over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use control::api::Problem;

use super::processes::Processes;
use super::{access, sse, stateless, streamable};
use crate::bridge_state::BridgeState;
use crate::problem;

/// State shared by the HTTP handlers.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) bridge: Arc<BridgeState>,
    pub(super) streamable: Arc<streamable::Sessions>,
    pub(super) suspended: Arc<stateless::SuspendedSessions>,
    pub(super) sse: Arc<sse::Sessions>,
    pub(super) processes: Processes,
}

/// Serves `/{server}/mcp`, `/{server}/sse` and `/{server}/message`.
pub(super) fn routes(bridge: &Arc<BridgeState>) -> Router {
    let shared = Shared {
        bridge: Arc::clone(bridge),
        streamable: Arc::default(),
        suspended: Arc::default(),
        sse: Arc::default(),
        processes: Processes::default(),
    };
    let (sweeper, shutdown) = (shared.clone(), bridge.shutdown.clone());
    let memory = bridge.to_hosts.clone();
    bridge.spawn(async move {
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

/// Builds the 404 response for an unknown server.
pub(super) fn no_server(name: &str, problem: &Problem) -> Response {
    let told = Problem {
        message: problem.sentence(),
        ..problem.clone()
    };
    let body = problem::answer(None, name, &told);
    (
        StatusCode::NOT_FOUND,
        [("content-type", "application/json")],
        body.bytes().clone(),
    )
        .into_response()
}
