//! What the modern era repeats of a body in headers, from a server's end (2026-07-28, Streamable
//! HTTP, "Server Validation"), and the statuses that go with its answers.
//!
//! Owns: comparing, and choosing. Does not own: what a client writes ([`crate::header`]).

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use crate::era::HEADER_MISMATCH;
use crate::era::{MISSING_CAPABILITY, ParamsView, UNSUPPORTED_VERSION};
use crate::message::{INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::{Message, SUPPORTED_LEGACY, ToolHeaders, header, json};

/// Whether a message that came over HTTP is of the modern era, by what its body says or by the
/// version in its headers: a body that lacks what it needs is still to be told so.
#[must_use]
pub fn is_modern(message: &Message, headers: &HeaderMap) -> bool {
    let view = ParamsView::new(message);
    let version = headers.get(header::PROTOCOL_VERSION);
    view.version().is_some()
        || message.method() == Some("server/discover")
        || version.is_some_and(|version| !SUPPORTED_LEGACY.iter().any(|legacy| version == legacy))
}

/// The first header of a modern request that does not say what its body says.
#[must_use]
pub fn mismatch(request: &Message, headers: &HeaderMap, tools: &ToolHeaders) -> Option<HeaderName> {
    let view = ParamsView::new(request);
    let method = request.method()?;
    let says = |name: &HeaderName, value: &str| said(headers, name).as_deref() == Some(value);
    match view.version() {
        Some(version) if !says(&header::PROTOCOL_VERSION, version) => {
            return Some(header::PROTOCOL_VERSION);
        }
        None if !headers.contains_key(header::PROTOCOL_VERSION) => {
            return Some(header::PROTOCOL_VERSION);
        }
        Some(_) | None => {}
    }
    if !says(&header::METHOD, method) {
        return Some(header::METHOD);
    }
    if let Some(name) = view.mcp_name(method)
        && !says(&header::NAME, name)
    {
        return Some(header::NAME);
    }
    let mut wanted = tools.values(request).into_iter();
    let wrong = wanted.find(|(name, value)| !says(name, value));
    wrong.map(|(name, _)| name)
}

/// What a header says, decoded; none where it is absent, given twice or badly encoded.
fn said(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    header::decode_value(value.trim_matches([' ', '\t']))
}

/// The status of a whole answer to a modern request ("Protocol Version Header", "Server
/// Validation"). Errors of an application come with 200.
#[must_use]
pub fn status(request: &Message, answer: &Message) -> StatusCode {
    match answer.error_code() {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        Some(INVALID_PARAMS) if !is_complete(request) => StatusCode::BAD_REQUEST,
        Some(_) | None => StatusCode::OK,
    }
}

/// Whether a request has in its `_meta` what every modern request must.
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
    fn a_header_that_says_something_else_is_found() {
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
    fn what_looks_encoded_and_is_not_is_taken_as_it_is() {
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
    fn a_request_is_modern_by_its_body_or_by_its_header() {
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
    fn only_errors_of_the_protocol_have_a_status_of_their_own() {
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
