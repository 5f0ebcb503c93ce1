//! Every route, and what happens to every request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use crate::app::App;
use crate::{hosts, oauth, proxy};

/// How long the store may take to say that it is there.
const HEALTH_TIME: Duration = Duration::from_secs(3);

/// The gateway's routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .merge(oauth::router())
        .merge(proxy::router())
        .layer(from_fn_with_state(Arc::clone(&app), hosts::check))
        .layer(from_fn(note))
        .with_state(app)
}

/// Whether requests can be answered: without the store none can.
async fn health(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(HEALTH_TIME, app.store.check()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n"),
        Ok(Err(error)) => {
            tracing::error!(%error, "the store failed");
            (StatusCode::SERVICE_UNAVAILABLE, "the store failed\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store is busy\n"),
    }
}

/// Notes what was asked and answered. The query is left out: codes and states travel in it.
async fn note(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), "request");
    response
}
