//! Lets in only requests that name this machine, so that no page of another site reaches the
//! emulator by a name of its own (DNS rebinding).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{StatusCode, header};
use url::Host;

pub(crate) async fn guard(request: Request, next: Next) -> Response {
    if named(&request).is_some_and(is_local) {
        next.run(request).await
    } else {
        let text = "The emulator answers to localhost, 127.0.0.1 and [::1] only.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// The host and port that a request names: in its URI over HTTP/2, in a header else.
pub(crate) fn named(request: &Request) -> Option<&str> {
    let in_header = || request.headers().get(header::HOST)?.to_str().ok();
    let in_uri = request.uri().authority().map(Authority::as_str);
    in_uri.or_else(in_header)
}

/// Whether the host of `authority` is a name of loopback.
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
    fn knows_this_machine() {
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
