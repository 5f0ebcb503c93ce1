//! Which headers are forwarded, in each direction.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

/// Headers of one hop (RFC 9110 section 7.6.1).
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a caller that a backend gets: what the message is, how the response may be encoded,
/// and what traces it. All others concern the caller or the route, which the gateway determines. A
/// list of forbidden headers would never be complete, because backends trust different ones.
const CALLERS: [&str; 9] = [
    "accept",
    "baggage",
    "cache-control",
    "last-event-id",
    "pragma",
    "priority",
    "traceparent",
    "tracestate",
    "user-agent",
];
const CALLERS_PREFIXES: [&str; 3] = ["accept-", "content-", "mcp-"];
/// The exceptions: headers that match [`CALLERS`] and are not forwarded.
const NOT_CALLERS: [&str; 3] = [
    // Derived from the body itself: a length beside chunks could contradict it.
    "content-length",
    "mcp-init-host",
    // Handled by `mcp_session`.
    "mcp-session-id",
];
const NOT_CALLERS_PREFIXES: [&str; 1] = ["mcp-internal-"];

/// The headers of a backend that concern its own origin, which differs from the gateway's.
const BACKENDS_OWN: [&str; 10] = [
    "alt-svc",
    "clear-site-data",
    "content-location",
    "location",
    "mcp-session-id",
    "refresh",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
    "x-powered-by",
];
const BACKENDS_OWN_PREFIXES: [&str; 4] = [
    "access-control-",
    "content-security-policy",
    "x-ms-",
    "x-postern-",
];

/// Returns the headers for a backend. Headers that the gateway determines come only from `ours`.
pub(super) fn to_backend(callers: &HeaderMap, ours: HeaderMap) -> HeaderMap {
    let mut headers = passing(callers, is_callers);
    for name in ours.keys() {
        headers.remove(name);
    }
    headers.extend(ours);
    headers
}

/// As [`to_backend`], for a stream whose text the gateway must read.
pub(super) fn to_backend_readable(callers: &HeaderMap, ours: HeaderMap) -> HeaderMap {
    let mut headers = to_backend(callers, ours);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// Returns the headers for a caller, without those that the gateway `injected` and without any that
/// contains one of its `secrets`, because a backend may repeat the request. Bodies are not searched.
pub(super) fn to_caller(
    backends: &HeaderMap,
    injected: &HeaderMap,
    secrets: &[SecretString],
) -> HeaderMap {
    let mut headers = passing(backends, |name| {
        !is_listed(name, &BACKENDS_OWN, &BACKENDS_OWN_PREFIXES)
    });
    for name in injected.keys() {
        headers.remove(name);
    }
    let telling: Vec<_> = headers
        .iter()
        .filter(|(_, value)| secrets.iter().any(|secret| holds(value, secret)))
        .map(|(name, _)| name.clone())
        .collect();
    for name in telling {
        tracing::warn!(header = %name, "a header of a backend's response contains a secret and is removed");
        headers.remove(name);
    }
    if is_event_stream(backends) {
        // A proxy in front of the gateway must not buffer a stream.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    headers
}

/// A shorter secret could be a part of any value by chance, so it is only compared with the whole
/// value.
const SHORTEST_PART: usize = 6;

fn holds(value: &HeaderValue, secret: &SecretString) -> bool {
    let (value, secret) = (value.as_bytes(), secret.expose_secret().as_bytes());
    match secret.len() {
        0 => false,
        1..SHORTEST_PART => value == secret,
        length => value.windows(length).any(|part| part == secret),
    }
}

pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        kind.trim_start()
            .to_ascii_lowercase()
            .starts_with("text/event-stream")
    })
}

/// Returns true if a backend's status is forwarded. A redirect would lead past the gateway, and a 401
/// concerns a credential that the caller does not have.
pub(super) fn may_pass(status: StatusCode) -> bool {
    !(status.is_redirection() && status != StatusCode::NOT_MODIFIED)
        && status != StatusCode::UNAUTHORIZED
        && status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
        && !status.is_informational()
}

/// Returns true if a header may come from the caller. Names with `_` may not, because many servers
/// treat `_` as `-`, so that one name could imitate another.
fn is_callers(name: &str) -> bool {
    is_listed(name, &CALLERS, &CALLERS_PREFIXES)
        && !is_listed(name, &NOT_CALLERS, &NOT_CALLERS_PREFIXES)
        && !name.contains('_')
}

fn is_listed(name: &str, names: &[&str], prefixes: &[&str]) -> bool {
    names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn passing(given: &HeaderMap, may: impl Fn(&str) -> bool) -> HeaderMap {
    let listed = listed_by_connection(given);
    let passes = |name: &HeaderName| {
        let text = name.as_str();
        let of_one_hop = HOP.contains(&text)
            || (listed.iter().any(|other| other == text) && !is_essential(name));
        !of_one_hop && may(text)
    };
    let kept = given.iter().filter(|(name, _)| passes(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Returns the headers that `Connection` names. They are of one hop too.
fn listed_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|text| text.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

/// Returns true if a header frames or types a message. `Connection` cannot remove it.
fn is_essential(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == CONTENT_TYPE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<_> = headers
            .iter()
            .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn d10_t59_t61_backend_gets_only_allowed_and_own_headers() {
        let callers = headers(&[
            ("accept", "text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-param-region", "eu"),
            ("last-event-id", "7"),
            ("traceparent", "00-1-2-03"),
            ("authorization", "Bearer v1.x"),
            ("cookie", "a=b"),
            ("x-api-key", "k"),
            ("x-functions-key", "k"),
            ("x-postern-user", "evil"),
            ("x_postern_user", "evil"),
            ("mcp-session_id", "evil"),
            ("content_length", "1"),
            ("remote-user", "evil"),
            ("x-remote-user", "evil"),
            ("x-webauth-user", "evil"),
            ("x-http-method-override", "DELETE"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-user", "evil"),
            ("x-ms-client-principal", "evil"),
            ("mcp-internal-x", "1"),
            ("mcp-init-host", "evil"),
            ("forwarded", "for=1"),
            ("host", "g"),
            ("origin", "https://g"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ]);
        let ours = headers(&[
            ("x-functions-key", "real"),
            ("x-postern-user", "t.o"),
            ("accept", "x"),
        ]);
        assert_eq!(
            names(&to_backend(&callers, ours)),
            [
                "accept=x",
                "content-type=application/json",
                "last-event-id=7",
                "mcp-method=tools/call",
                "mcp-param-region=eu",
                "mcp-protocol-version=2026-07-28",
                "traceparent=00-1-2-03",
                "x-functions-key=real",
                "x-postern-user=t.o",
            ]
        );
    }

    #[test]
    fn t61_caller_gets_no_backend_url_or_secret() {
        let backends = headers(&[
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
            ("content-encoding", "gzip"),
            ("retry-after", "3"),
            ("set-cookie", "a=b"),
            ("location", "http://10.0.0.5/"),
            ("content-location", "http://10.0.0.5/"),
            ("access-control-allow-origin", "*"),
            ("www-authenticate", "Bearer"),
            ("x-functions-key", "echoed"),
            ("x-echo", "x-functions-key: the-real-one;"),
            ("x-echo", "harmless"),
            ("x-part", "the-real-on"),
            ("x-short", "pin"),
            ("x-pinned", "pinned"),
            ("x-ms-request-id", "1"),
            ("mcp-session-id", "raw"),
            ("connection", "close"),
        ]);
        let injected = headers(&[("x-functions-key", "k=the-real-one")]);
        let secrets = ["the-real-one", "pin", ""].map(SecretString::from);
        assert_eq!(
            names(&to_caller(&backends, &injected, &secrets)),
            [
                "cache-control=no-cache",
                "content-encoding=gzip",
                "content-type=text/event-stream; charset=utf-8",
                "retry-after=3",
                "x-accel-buffering=no",
                "x-part=the-real-on",
                "x-pinned=pinned",
            ]
        );
    }

    #[test]
    fn t71_redirect_and_401_are_not_forwarded() {
        for (status, passes) in [
            (200, true),
            (202, true),
            (204, true),
            (304, true),
            (400, true),
            (403, true),
            (404, true),
            (405, true),
            (500, true),
            (503, true),
            (301, false),
            (302, false),
            (307, false),
            (401, false),
            (407, false),
            (101, false),
        ] {
            assert_eq!(
                may_pass(StatusCode::from_u16(status).unwrap()),
                passes,
                "{status}"
            );
        }
    }
}
