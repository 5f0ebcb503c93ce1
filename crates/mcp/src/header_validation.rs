//! Server-side validation of the headers that repeat a modern request's body (2026-07-28,
//! Streamable HTTP, "Server Validation"), and the HTTP statuses of responses.
//!
//! Owns: comparing headers and body, and choosing the status. Does not own: the headers that a
//! client writes ([`crate::header`]).

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use crate::era::HEADER_MISMATCH;
use crate::era::{MISSING_CAPABILITY, ParamsView, UNSUPPORTED_VERSION};
use crate::message::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::{Message, SUPPORTED_LEGACY, ToolHeaders, header, json};

/// Returns true if a message is of the modern era, by its body or by the version in its headers. A
/// body that lacks required fields counts too, so that the host gets an error about them.
#[must_use]
pub fn is_modern(message: &Message, headers: &HeaderMap) -> bool {
    let view = ParamsView::new(message);
    let version = headers.get(header::PROTOCOL_VERSION);
    view.version().is_some()
        || message.method() == Some("server/discover")
        || version.is_some_and(|version| !SUPPORTED_LEGACY.iter().any(|legacy| version == legacy))
}

/// Returns the first header of a modern request that contradicts the body.
#[must_use]
pub fn mismatch(request: &Message, headers: &HeaderMap, tools: &ToolHeaders) -> Option<HeaderName> {
    let view = ParamsView::new(request);
    let method = request.method()?;
    let matches =
        |name: &HeaderName, value: &str| single_value(headers, name).as_deref() == Some(value);
    match view.version() {
        Some(version) if !matches(&header::PROTOCOL_VERSION, version) => {
            return Some(header::PROTOCOL_VERSION);
        }
        None if !headers.contains_key(header::PROTOCOL_VERSION) => {
            return Some(header::PROTOCOL_VERSION);
        }
        Some(_) | None => {}
    }
    if !matches(&header::METHOD, method) {
        return Some(header::METHOD);
    }
    if let Some(name) = view.mcp_name(method)
        && !matches(&header::NAME, name)
    {
        return Some(header::NAME);
    }
    let mut wanted = tools.values(request).into_iter();
    let wrong = wanted.find(|(name, value)| !matches(name, value));
    wrong.map(|(name, _)| name)
}

/// Decodes a header. Returns `None` if it is absent, repeated or badly encoded.
fn single_value(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    header::decode_value(value.trim_matches([' ', '\t']))
}

/// Returns the HTTP status of a complete response to a modern request ("Protocol Version Header",
/// "Server Validation"). Application errors have status 200.
#[must_use]
pub fn status(request: &Message, answer: &Message) -> StatusCode {
    match answer.error_code() {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        Some(INVALID_PARAMS) if !is_complete(request) => StatusCode::BAD_REQUEST,
        Some(_) | None => StatusCode::OK,
    }
}

/// Returns true if the request's `_meta` has all required fields of the modern era.
pub(crate) fn is_complete(request: &Message) -> bool {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow, rename = "_meta")]
        _meta: Meta<'a>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
        _version: &'a RawValue,
        #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
        _capabilities: &'a RawValue,
    }
    let params = request.params().map(RawValue::get).unwrap_or_default();
    json::read::<Params<'_>>(params).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{is_modern, mismatch, status};
    use crate::{Message, RequestId, ToolHeaders};

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn request(method: &str, params: &str) -> Message {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn tools() -> ToolHeaders {
        let tools = ToolHeaders::default();
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"query","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}}"#;
        tools.learn(&Message::parse(Bytes::from_static(text.as_bytes())).unwrap());
        tools
    }

    #[test]
    fn header_that_contradicts_body_is_found() {
        let version = ("mcp-protocol-version", "2026-07-28");
        let call = ("mcp-method", "tools/call");
        let name = ("mcp-name", "query");
        let region = ("mcp-param-region", "=?base64?WsO8cmljaA==?=");
        let params = format!(r#""name":"query","arguments":{{"region":"Zürich"}},{META}"#);
        let request = request("tools/call", &params);
        let found = |given: &[(&str, &str)]| mismatch(&request, &headers(given), &tools());
        assert_eq!(found(&[version, call, name, region]), None);
        for (given, wrong) in [
            (&[call, name, region][..], "mcp-protocol-version"),
            (
                &[("mcp-protocol-version", "2025-11-25"), call, name, region],
                "mcp-protocol-version",
            ),
            (&[version, name, region], "mcp-method"),
            (
                &[version, ("mcp-method", "TOOLS/CALL"), name, region],
                "mcp-method",
            ),
            (&[version, call, region], "mcp-name"),
            (&[version, call, ("mcp-name", "other"), region], "mcp-name"),
            (
                &[version, call, name, ("mcp-name", "query"), region],
                "mcp-name",
            ),
            (&[version, call, name], "mcp-param-region"),
            (
                &[
                    version,
                    call,
                    name,
                    ("mcp-param-region", "=?base64?WsO8cmljaA?="),
                ],
                "mcp-param-region",
            ),
            (
                &[version, call, name, ("mcp-param-region", "=?base64?!!!?=")],
                "mcp-param-region",
            ),
        ] {
            assert_eq!(found(given).unwrap(), wrong, "{given:?}");
        }
    }

    #[test]
    fn value_without_base64_marker_is_not_decoded() {
        let params = format!(r#""name":"SGVsbG8=",{META}"#);
        let request = request("prompts/get", &params);
        let given = headers(&[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "prompts/get"),
            ("mcp-name", " SGVsbG8= "),
        ]);
        assert_eq!(mismatch(&request, &given, &ToolHeaders::default()), None);
    }

    #[test]
    fn request_is_modern_by_body_or_header() {
        let none = HeaderMap::new();
        assert!(is_modern(&request("tools/list", META), &none));
        assert!(is_modern(&request("initialize", META), &none));
        assert!(is_modern(&request("server/discover", ""), &none));
        assert!(!is_modern(&request("initialize", ""), &none));
        let version = |version| headers(&[("mcp-protocol-version", version)]);
        assert!(is_modern(
            &request("tools/list", ""),
            &version("2026-07-28")
        ));
        assert!(is_modern(&request("tools/list", ""), &version("v999")));
        assert!(!is_modern(
            &request("tools/list", ""),
            &version("2025-11-25")
        ));
    }

    #[test]
    fn only_protocol_errors_have_error_status() {
        let id = RequestId::number(1);
        let whole = request("tools/call", META);
        let lacking = request("tools/call", "");
        for (code, asked, expected) in [
            (-32601, &whole, 404),
            (-32020, &whole, 400),
            (-32021, &whole, 400),
            (-32022, &whole, 400),
            (-32602, &lacking, 400),
            (-32602, &whole, 200),
            (-32603, &whole, 200),
            (1001, &whole, 200),
        ] {
            let answer = Message::error_response(Some(&id), code, "no", None);
            assert_eq!(status(asked, &answer), expected, "{code}");
        }
    }
}
