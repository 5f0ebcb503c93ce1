//! Every route, and what happens to every request.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use crate::app::App;
use crate::{hosts, oauth, proxy};

/// The gateway's routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(oauth::router())
        .merge(proxy::router())
        .layer(from_fn_with_state(Arc::clone(&app), hosts::check))
        .layer(from_fn(note))
        .with_state(app)
}

/// Notes what was asked and answered. The query is left out: codes and states travel in it.
async fn note(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), "request");
    response
}
