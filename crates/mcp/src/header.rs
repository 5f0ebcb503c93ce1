//! The HTTP headers of MCP's transports.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

/// The session id of the legacy era (2025-11-25, Streamable HTTP, "Session Management").
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The protocol version, since 2025-06-18.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The method of the body, in the modern era.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt or resource that the body names, in the modern era.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The last event of a stream to resume (WHATWG HTML, server-sent events).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks proxies not to buffer a stream.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const ENCODED_START: &str = "=?base64?";
const ENCODED_END: &str = "?=";

/// Encodes a value of the body for a header: unchanged if it is ASCII without surrounding spaces,
/// else in base64 between `=?base64?` and `?=` (2026-07-28, Streamable HTTP, "Value Encoding").
#[must_use]
pub fn encode_value(value: &str) -> HeaderValue {
    let encoded = || format!("{ENCODED_START}{}{ENCODED_END}", STANDARD.encode(value));
    let text = if is_plain(value) {
        value.to_owned()
    } else {
        encoded()
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Decodes a header value. Returns `None` if the encoding is invalid.
#[must_use]
pub fn decode_value(value: &str) -> Option<String> {
    let encoded = value
        .strip_prefix(ENCODED_START)
        .and_then(|rest| rest.strip_suffix(ENCODED_END));
    match encoded {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn is_plain(value: &str) -> bool {
    let padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    let ambiguous = value.starts_with(ENCODED_START) && value.ends_with(ENCODED_END);
    !padded
        && !ambiguous
        && value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::{decode_value, encode_value};

    #[test]
    fn values_are_encoded_as_specified() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("a b", "a b"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            assert_eq!(encode_value(value), header, "{value}");
            assert_eq!(decode_value(header).as_deref(), Some(value));
        }
    }
}
