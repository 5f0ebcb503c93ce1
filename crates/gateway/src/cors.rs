//! Cross-origin access (Fetch standard) to endpoints that take no cookies.

use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
};
use http::{HeaderValue, StatusCode};

/// Opens an endpoint to pages of every origin, with a preflight that names its `methods`.
pub(crate) fn public<S: Clone + Send + Sync + 'static>(
    endpoint: MethodRouter<S>,
    methods: &'static str,
) -> MethodRouter<S> {
    endpoint
        .options(move || async move { preflight(methods) })
        .layer(map_response(|mut response: Response| async {
            let any = HeaderValue::from_static("*");
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
            let exposed = HeaderValue::from_static("WWW-Authenticate");
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            response
        }))
}

/// The answer to a preflight.
pub(crate) fn preflight(methods: &'static str) -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, \
             Mcp-Name, Mcp-Session-Id",
        ),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
