//! The Host and Origin that a request may name: only those of the gateway. So another name that
//! resolves to this address (DNS rebinding) reaches nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::{HeaderMap, StatusCode, Uri};

use crate::gateway_state::GatewayState;

/// Passes on a request for the gateway's own host, and rejects any other. `/healthz` and `/readyz`
/// accept any host.
pub(crate) async fn check(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
    next: Next,
) -> Response {
    let usual_port = match gateway.issuer.starts_with("https:") {
        true => ":443",
        false => ":80",
    };
    let is_ours = is_for(gateway.host(), usual_port, request.uri(), request.headers());
    if is_ours || matches!(request.uri().path(), "/healthz" | "/readyz") {
        next.run(request).await
    } else {
        let text = "This gateway does not answer under that host name.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// Returns true if a request names a host, and each name in it is `ours`, with or without the usual
/// port.
fn is_for(ours: &str, usual_port: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let named = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let hosts = headers
        .get_all(HOST)
        .iter()
        .map(http::HeaderValue::as_bytes);
    let mut given = named.into_iter().chain(hosts).peekable();
    given.peek().is_some()
        && given.all(|host| {
            let host = host.strip_suffix(usual_port.as_bytes()).unwrap_or(host);
            host.eq_ignore_ascii_case(ours.as_bytes())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t45_t67_foreign_host_header_is_rejected() {
        let asked = |uri: &'static str, hosts: &[&'static str]| {
            let hosts = hosts.iter().map(|host| (HOST, host.parse().unwrap()));
            let mut headers = HeaderMap::new();
            hosts.for_each(|(name, value)| {
                headers.append(name, value);
            });
            is_for("g.example:8443", ":443", &Uri::from_static(uri), &headers)
        };
        assert!(asked("/", &["g.example:8443"]));
        assert!(asked("/", &["G.Example:8443"]));
        assert!(asked("https://g.example:8443/", &[]));
        let without_port = |host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            is_for("g.example", ":443", &Uri::from_static("/"), &headers)
        };
        assert!(without_port("g.example") && without_port("g.example:443"));
        assert!(!without_port("g.example:80") && !without_port("g.example:4430"));
        assert!(!without_port("g.example:443:443"));
        for (uri, hosts) in [
            ("/", &[][..]),
            ("/", &["g.example"]),
            ("/", &["evil.example"]),
            ("/", &["g.example:8443", "evil.example"]),
            ("https://evil.example/", &["g.example:8443"]),
            ("https://g.example:8443/", &["evil.example"]),
            ("https://u@g.example:8443/", &[]),
        ] {
            assert!(!asked(uri, hosts), "{uri} {hosts:?}");
        }
    }
}
