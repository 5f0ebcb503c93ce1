//! The access check of the local HTTP endpoints, which replaces authentication.
//!
//! Invariants: only processes of the same user, where the system tells. Only loopback names in
//! `Host` (no DNS rebinding). No request that a web page of another site causes, by script, by
//! `<img>` or by a WebSocket. Never a 401 and never metadata, because hosts would start a sign-in
//! of their own.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use control::peer::{self, Owner};
use tokio::net::TcpStream;

/// The owner of a connection. It is determined once per connection, not per request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerOwner {
    pub(super) owner: Owner,
    pub(super) opener: Opener,
}

/// How the process at the other end of a connection is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opener {
    /// By both ends of the connection.
    Ends { peer: SocketAddr, here: SocketAddr },
    /// By its id, where the system tells.
    Process(Option<u32>),
}

impl PeerOwner {
    /// Determines the owner of the connection, which comes from `peer`.
    pub(super) fn from_tcp(connection: &TcpStream, peer: SocketAddr) -> Self {
        match connection.local_addr() {
            Ok(here) => Self {
                owner: peer::owner(peer, here),
                opener: Opener::Ends { peer, here },
            },
            Err(_) => Self {
                owner: Owner::Unknown,
                opener: Opener::Process(None),
            },
        }
    }
}

/// Accepts a request, or rejects it with 403.
pub(super) async fn check(
    ConnectInfo(PeerOwner { owner, .. }): ConnectInfo<PeerOwner>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let stranger =
        (owner == Owner::OtherUser).then_some("the request comes from another user's process");
    match stranger.or_else(|| refusal(request.headers())) {
        None => next.run(request).await,
        Some(why) => {
            tracing::warn!(why, path = request.uri().path(), "turned a request away");
            let hint =
                "hint: only programs on this machine may use this address, web pages may not";
            (StatusCode::FORBIDDEN, format!("{why}; {hint}\n")).into_response()
        }
    }
}

fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() || !host.is_some_and(is_loopback) {
        return Some("the Host header does not name this machine");
    }
    let foreign = |origin: &header::HeaderValue| !origin.to_str().is_ok_and(is_loopback_origin);
    if headers.get_all(header::ORIGIN).iter().any(foreign) {
        return Some("the Origin header names another site");
    }
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if matches!(value("sec-fetch-site"), Some("cross-site" | "same-site")) {
        return Some("a page of another site made this request");
    }
    // Browsers do not name the page that opens a WebSocket, and nothing here uses them.
    if headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        return Some("this address has no WebSocket");
    }
    if value("sec-fetch-mode") == Some("navigate") {
        return Some("this address is not for a browser's address bar");
    }
    None
}

fn is_loopback_origin(origin: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(scheme, host)| matches!(scheme, "http" | "https") && is_loopback(host))
}

/// Returns true for `127.0.0.1`, `[::1]` or `localhost`, with or without a port.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "127.0.0.1" | "[::1]") || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::refusal;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn loopback_request_is_accepted() {
        for host in [
            "127.0.0.1:4127",
            "localhost:4127",
            "[::1]:4127",
            "LOCALHOST",
        ] {
            assert_eq!(refusal(&headers(&[("host", host)])), None, "{host}");
        }
        let page = [
            ("host", "localhost:1"),
            ("origin", "http://localhost:6274"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(refusal(&headers(&page)), None);
    }

    #[test]
    fn web_page_request_is_rejected() {
        let attacks: [&[(&str, &str)]; 11] = [
            &[],
            &[("host", "evil.example")],
            &[("host", "localhost.evil.example:4127")],
            &[("host", "127.0.0.1:4127"), ("host", "evil.example")],
            &[("host", "127.0.0.1:4127@evil.example")],
            &[("host", "localhost"), ("origin", "https://evil.example")],
            &[("host", "localhost"), ("origin", "null")],
            &[
                ("host", "localhost"),
                ("origin", "http://localhost"),
                ("origin", "http://evil.example"),
            ],
            &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost"), ("sec-fetch-mode", "navigate")],
            &[
                ("host", "localhost"),
                ("origin", "http://localhost:6274"),
                ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ],
        ];
        for attack in attacks {
            assert!(refusal(&headers(attack)).is_some(), "{attack:?}");
        }
    }
}
