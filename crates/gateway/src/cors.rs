//! Cross-origin access (Fetch standard) to endpoints that take no cookies.

use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Opens an endpoint to pages of every origin, with a preflight that names its `methods`.
pub(crate) fn public<S: Clone + Send + Sync + 'static>(
    endpoint: MethodRouter<S>,
    methods: &'static str,
) -> MethodRouter<S> {
    endpoint
        .options(move |headers: HeaderMap| async move { preflight(methods, &headers) })
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

/// The headers that a page may send.
const ALLOWED: &str = "Authorization, Content-Type, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, \
     Mcp-Name, Mcp-Session-Id, baggage, traceparent, tracestate";

/// The maximum length of the list of names that is repeated, in bytes.
const MAX_REPEATED: usize = 1024;

/// Returns the response to a preflight. Names that begin with `Mcp-Param-` are defined by tools (MCP
/// 2026-07-28), so the requested ones are repeated.
pub(crate) fn preflight(methods: &'static str, asked: &HeaderMap) -> Response {
    let asked = asked.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked
        .and_then(|names| names.to_str().ok())
        .unwrap_or_default();
    let mut allowed = ALLOWED.to_owned();
    let is_parameter = |name: &&str| {
        let begin = name.get(..PARAMETER.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(PARAMETER))
            && HeaderName::try_from(*name).is_ok()
    };
    for name in asked.split(',').map(str::trim).filter(is_parameter) {
        if allowed.len() + name.len() < ALLOWED.len() + MAX_REPEATED {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
    }
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, &allowed),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
        (VARY, "Access-Control-Request-Headers"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

const PARAMETER: &str = "mcp-param-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preflight_allows_requested_parameter_headers() {
        let allowed = |asked: &str| {
            let headers = [(ACCESS_CONTROL_REQUEST_HEADERS, asked.parse().unwrap())];
            let response = preflight("GET", &headers.into_iter().collect());
            let allowed = &response.headers()[ACCESS_CONTROL_ALLOW_HEADERS];
            allowed.to_str().unwrap().to_owned()
        };
        assert_eq!(
            allowed("authorization, mcp-param-region,Mcp-Param-A, x-evil, mcp-param-("),
            format!("{ALLOWED}, mcp-param-region, Mcp-Param-A")
        );
        assert!(allowed("").contains("traceparent"));
        let many = vec!["mcp-param-x"; 10_000].join(",");
        assert!(allowed(&many).len() < 2_000);
    }
}
