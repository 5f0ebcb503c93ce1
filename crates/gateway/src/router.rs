//! All routes, and what applies to every request.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use crate::gateway_state::GatewayState;
use crate::places::OpenRequest;
use crate::storage::StoreError;
use crate::{host_header, oauth, proxy};

/// The maximum length of a method and of a path in the log, in characters. Those that the gateway
/// knows are short.
const MAX_METHOD: usize = 16;
const MAX_PATH: usize = 200;

/// Returns the gateway's routes.
pub(crate) fn router(gateway: Arc<GatewayState>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .merge(oauth::router())
        .merge(proxy::router())
        .layer(from_fn_with_state(Arc::clone(&gateway), host_header::check))
        .layer(from_fn_with_state(Arc::clone(&gateway), note))
        .with_state(gateway)
}

/// Reports whether the process works. Does not wait for the store, because restarting a gateway with a
/// busy store makes matters worse.
async fn health(State(gateway): State<Arc<GatewayState>>) -> (StatusCode, &'static str) {
    match gateway.store.is_open() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the store failed\n"),
    }
}

/// Reports whether requests can be answered now. That requires the store.
async fn ready(State(gateway): State<Arc<GatewayState>>) -> (StatusCode, &'static str) {
    if gateway.drain.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the gateway ends\n");
    }
    match gateway.store.check().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(StoreError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "the store is busy\n"),
        Err(error) => {
            tracing::error!(%error, "the store failed");
            (StatusCode::SERVICE_UNAVAILABLE, "the store failed\n")
        }
    }
}

/// Logs the request and the status. Omits the query, because it may contain codes and states.
async fn note(State(gateway): State<Arc<GatewayState>>, request: Request, next: Next) -> Response {
    let open = request.extensions().get::<Arc<OpenRequest>>().cloned();
    let method = shortened(request.method().as_str(), MAX_METHOD);
    let path = shortened(request.uri().path(), MAX_PATH);
    let response = next.run(request).await;
    let is_of_session = open.is_some_and(|open| open.is_of_session());
    if is_of_session || gateway.request_log.takes(response.status()) {
        tracing::info!(%method, path, status = response.status().as_u16(), "request");
    }
    response
}

/// Shortens a text for the log.
fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
