//! The access check of `/admin`: rejects requests from other web sites.
//!
//! Invariants: there is no CORS here. A request with a foreign `Origin` is rejected. A request that
//! changes something must be JSON, which a foreign form cannot send, or come from the page itself.
//! The emulator as a whole listens on loopback only and accepts only host names of this machine
//! (see [`crate::host_header`]).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};

use crate::host_header;

const SITE: &str = "sec-fetch-site";
const MODE: &str = "sec-fetch-mode";

pub(super) async fn require_same_site(request: Request, next: Next) -> Response {
    let host = host_header::requested_host(&request).unwrap_or_default();
    if is_allowed(request.method(), host, request.headers()) {
        next.run(request).await
    } else {
        let text = "Pages of other sites must not use the admin API.\n";
        (StatusCode::FORBIDDEN, text).into_response()
    }
}

fn is_allowed(method: &Method, host: &str, headers: &HeaderMap) -> bool {
    is_own_origin(host, headers) && (is_own_site(headers) || is_link(method, headers))
}

/// Returns whether `Origin` is absent or names this emulator. Browsers send it with every request
/// that changes something; other programs do not send it.
fn is_own_origin(host: &str, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let origin = origin.as_bytes();
    let named = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    !host.is_empty() && named.is_some_and(|named| named.eq_ignore_ascii_case(host.as_bytes()))
}

fn is_own_site(headers: &HeaderMap) -> bool {
    headers
        .get(SITE)
        .is_none_or(|site| site == "same-origin" || site == "none")
}

/// Returns whether a link on another site opens the page. That changes nothing, and the other site
/// cannot read the response.
fn is_link(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && headers.get(MODE).is_some_and(|mode| mode == "navigate")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method};

    use super::is_allowed;

    fn check(method: &Method, sent: &[(&str, &str)], expected: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        assert_eq!(
            is_allowed(method, "localhost:4190", &headers),
            expected,
            "{method} {sent:?}"
        );
    }

    #[test]
    fn requests_of_other_sites_are_rejected() {
        let own = ("origin", "http://localhost:4190");
        check(&Method::POST, &[], true);
        check(
            &Method::POST,
            &[own, ("sec-fetch-site", "same-origin")],
            true,
        );
        check(&Method::GET, &[("sec-fetch-site", "none")], true);
        for origin in [
            "null",
            "http://localhost:4191",
            "http://localhost",
            "http://evil.example",
            "http://localhost:4190.evil.example",
            "ftp://localhost:4190",
        ] {
            check(&Method::POST, &[("origin", origin)], false);
            check(&Method::GET, &[("origin", origin)], false);
        }
        check(
            &Method::POST,
            &[own, ("sec-fetch-site", "same-site")],
            false,
        );
        check(&Method::POST, &[("sec-fetch-site", "cross-site")], false);
        check(&Method::GET, &[("sec-fetch-site", "cross-site")], false);
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        check(&Method::GET, &link, true);
        check(&Method::POST, &link, false);
    }
}
