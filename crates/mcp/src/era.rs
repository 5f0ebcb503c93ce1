//! The two eras of MCP, and the era of a message.
//!
//! Owns: the protocol versions that Postern speaks, and what a message says about its version. Does
//! not own: translation between the eras.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::message::Message;

/// The newest version with a handshake.
pub const LATEST_LEGACY: &str = "2025-11-25";
/// The supported versions with a handshake, oldest first.
pub const SUPPORTED_LEGACY: &[&str] = &["2024-11-05", "2025-03-26", "2025-06-18", LATEST_LEGACY];
/// The newest version without a handshake.
pub const LATEST_MODERN: &str = "2026-07-28";
/// The supported versions without a handshake, oldest first.
pub const SUPPORTED_MODERN: &[&str] = &[LATEST_MODERN];
/// The headers of a request contradict its body.
pub const HEADER_MISMATCH: i64 = -32020;
/// The server needs a capability that the client did not declare.
pub(crate) const MISSING_CAPABILITY: i64 = -32021;
/// The server does not support the version of the request.
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// Returns true if only servers of the modern era send this error. A server whose error names only
/// versions with a handshake expects one of those (2026-07-28, basic/versioning).
pub(crate) fn is_modern_error(refusal: &Message) -> bool {
    match refusal.error_code() {
        Some(HEADER_MISMATCH | MISSING_CAPABILITY) => true,
        Some(UNSUPPORTED_VERSION) => !wants_handshake(refusal),
        Some(_) | None => false,
    }
}

/// Returns true if the error names supported versions, and all of them have a handshake.
fn wants_handshake(refusal: &Message) -> bool {
    #[derive(Deserialize)]
    struct Unsupported<'a> {
        #[serde(borrow)]
        data: Supported<'a>,
    }
    #[derive(Deserialize)]
    struct Supported<'a> {
        #[serde(borrow)]
        supported: Vec<Cow<'a, str>>,
    }
    let error = refusal.error().map(serde_json::value::RawValue::get);
    let named = error.and_then(|error| json::read::<Unsupported<'_>>(error).ok());
    named.is_some_and(|named| {
        let speaks = |versions: &[&str]| {
            let mut supported = named.data.supported.iter();
            supported.any(|version| versions.contains(&&**version))
        };
        speaks(SUPPORTED_LEGACY) && !speaks(SUPPORTED_MODERN)
    })
}

/// Returns true if this is a modern server's response to `server/discover`, which has to name its
/// versions (2026-07-28, server/discover). Some servers respond with a result to any request.
pub(crate) fn is_discovery(answer: &Message) -> bool {
    #[derive(Deserialize)]
    struct Discovered<'a> {
        #[serde(borrow, rename = "supportedVersions")]
        _versions: Vec<Cow<'a, str>>,
    }
    let result = answer.result().map(serde_json::value::RawValue::get);
    result.is_some_and(|result| json::read::<Discovered<'_>>(result).is_ok())
}

/// How client and server agree on a version and capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` first, then a session.
    Legacy,
    /// From 2026-07-28: every request is self-contained.
    Modern,
}

impl Era {
    /// Returns the other era.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Modern,
            Self::Modern => Self::Legacy,
        }
    }

    /// Returns the era of a client's message. Responses are legacy, because modern clients send
    /// none.
    #[must_use]
    pub fn from_message(message: &Message) -> Self {
        ParamsView::new(message).era(message.method())
    }
}

/// The values of `params` that the transport needs. Each is `None` if it is absent or has another
/// type.
#[derive(Default)]
pub(crate) struct ParamsView<'a> {
    name: Option<Text<'a>>,
    uri: Option<Text<'a>>,
    task_id: Option<Text<'a>>,
    version: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> ParamsView<'a> {
    pub(crate) fn new(message: &'a Message) -> Self {
        let Some(ranges) = message.param_ranges() else {
            return Self::default();
        };
        let text = |range: &Option<Range<usize>>| {
            serde_json::from_str(message.text(range.as_ref()?)?).ok()
        };
        Self {
            name: text(&ranges.name),
            uri: text(&ranges.uri),
            task_id: text(&ranges.task_id),
            version: text(&ranges.version),
        }
    }

    /// Returns the era of the message that has these parameters and this method.
    pub(crate) fn era(&self, method: Option<&str>) -> Era {
        match method {
            None | Some("initialize") => Era::Legacy,
            Some("server/discover") => Era::Modern,
            Some(_) if self.version().is_some() => Era::Modern,
            Some(_) => Era::Legacy,
        }
    }

    /// Returns `params._meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(crate) fn version(&self) -> Option<&str> {
        Some(&self.version.as_ref()?.0)
    }

    /// Returns the value of the header `Mcp-Name`, for the methods that have it (2026-07-28,
    /// Streamable HTTP, "Standard Request Headers"; SEP-2663 for tasks).
    pub(crate) fn mcp_name(&self, method: &str) -> Option<&str> {
        let name = match method {
            "tools/call" | "prompts/get" => &self.name,
            "resources/read" => &self.uri,
            "tasks/get" | "tasks/update" | "tasks/cancel" => &self.task_id,
            _ => &None,
        };
        Some(&name.as_ref()?.0)
    }
}

/// Deserializes a value of an unexpected type as `None`.
pub(crate) fn lenient<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    let raw = <&'de RawValue>::deserialize(value)?;
    Ok(serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Era, ParamsView, is_discovery, is_modern_error};
    use crate::message::Message;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn each_message_names_its_era() {
        let modern = r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28"}}"#;
        for (method, params, era) in [
            ("initialize", modern, Era::Legacy),
            ("server/discover", "{}", Era::Modern),
            ("tools/call", modern, Era::Modern),
            (
                "tools/call",
                r#"{"_meta":{"progressToken":1}}"#,
                Era::Legacy,
            ),
            (
                "tools/call",
                r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":7}}"#,
                Era::Legacy,
            ),
            ("tools/call", "[1]", Era::Legacy),
        ] {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            assert_eq!(Era::from_message(&message(&text)), era, "{text}");
        }
        assert_eq!(
            Era::from_message(&message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
            Era::Legacy
        );
    }

    #[test]
    fn unsupported_version_error_with_legacy_versions_is_legacy() {
        let refusal = |code: i64, data: &str| {
            let error = format!(r#"{{"code":{code},"message":"no"{data}}}"#);
            is_modern_error(&message(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#
            )))
        };
        let supported = |versions: &str| format!(r#","data":{{"supported":{versions}}}"#);
        for modern in [
            "",
            r#","data":7"#,
            &supported("[]"),
            &supported(r#"["2033-01-01"]"#),
            &supported(r#"["2025-11-25","2026-07-28"]"#),
        ] {
            assert!(refusal(-32022, modern), "{modern}");
        }
        assert!(!refusal(
            -32022,
            &supported(r#"["2024-11-05","2025-11-25"]"#)
        ));
        assert!(refusal(-32020, &supported(r#"["2025-11-25"]"#)));
        assert!(!refusal(-32601, ""));
    }

    #[test]
    fn discovery_without_versions_is_rejected() {
        let answers = |result: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,{result}}}"#);
            is_discovery(&message(&text))
        };
        assert!(answers(
            r#""result":{"supportedVersions":["2026-07\u002d28"],"x":1.0}"#
        ));
        for other in [
            r#""result":{}"#,
            r#""result":{"supportedVersions":"2026-07-28"}"#,
            r#""result":null"#,
            r#""error":{"code":1,"message":"","data":{"supportedVersions":[]}}"#,
        ] {
            assert!(!answers(other), "{other}");
        }
    }

    #[test]
    fn odd_member_hides_no_other() {
        let meta = r#""_meta":{"\ud800":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        for odd in [
            r#""\udfff":1"#,
            r#""name":"first""#,
            r#""_meta":{}"#,
            r#""n":1e400"#,
        ] {
            let params = format!(r#"{{{odd},{meta},"name":"last"}}"#);
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{params}}}"#);
            let message = message(&text);
            let view = ParamsView::new(&message);
            assert_eq!(view.version(), Some("2026-07-28"), "{text}");
            assert_eq!(view.mcp_name("tools/call"), Some("last"), "{text}");
        }
    }

    #[test]
    fn value_of_wrong_type_hides_no_other() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":{"a":1},"uri":"a\u00e9","_meta":1}}"#;
        let message = message(text);
        let view = ParamsView::new(&message);
        assert_eq!(view.mcp_name("tools/call"), None);
        assert_eq!(view.mcp_name("resources/read"), Some("aé"));
        assert_eq!(view.mcp_name("ping"), None);
        assert_eq!(view.version(), None);
    }
}
