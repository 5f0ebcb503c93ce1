//! Rejects requests whose host is not a name of loopback. So pages of other sites cannot reach the
//! emulator under their own names (DNS rebinding).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{StatusCode, header};
use url::Host;

pub(crate) async fn require_loopback(request: Request, next: Next) -> Response {
    if requested_host(&request).is_some_and(is_local) {
        next.run(request).await
    } else {
        let text = "The emulator accepts the hosts localhost, 127.0.0.1 and [::1] only.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// Returns the requested host and port: from the URI with HTTP/2, otherwise from the header.
pub(crate) fn requested_host(request: &Request) -> Option<&str> {
    let in_header = || request.headers().get(header::HOST)?.to_str().ok();
    let in_uri = request.uri().authority().map(Authority::as_str);
    in_uri.or_else(in_header)
}

/// Returns whether the host of `authority` is a name of loopback.
pub(crate) fn is_local(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    match Host::parse(authority.host()) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_loopback_names_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:80",
            "[::1]:80",
            "127.9.9.9",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "",
            "[::2]:1",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
