//! The routes for hosts that speak HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use control::api::Problem;

use super::processes::Processes;
use super::{access, sse, stateless, streamable};
use crate::bridge_state::Hub;
use crate::problem;

/// What the HTTP handlers share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) streamable: Arc<streamable::Sessions>,
    pub(super) kept: Arc<stateless::Kept>,
    pub(super) sse: Arc<sse::Sessions>,
    pub(super) processes: Processes,
}

/// `/{server}/mcp`, `/{server}/sse` and `/{server}/message`.
pub(super) fn routes(hub: &Arc<Hub>) -> Router {
    let shared = Shared {
        hub: Arc::clone(hub),
        streamable: Arc::default(),
        kept: Arc::default(),
        sse: Arc::default(),
        processes: Processes::default(),
    };
    let (house, shutdown) = (shared.clone(), hub.shutdown.clone());
    let memory = hub.to_hosts.clone();
    hub.spawn(async move {
        tokio::select! {
            () = house.streamable.keep_house() => {}
            () = house.kept.keep_house(&memory) => {}
            () = house.sse.keep_house() => {}
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

/// There is no such server.
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
