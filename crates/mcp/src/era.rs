//! The two eras of MCP, and which of them a message belongs to.
//!
//! Owns: the protocol versions we speak, and what a message says of its own version.
//! Does not own: translation between the eras.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::message::Message;

/// The newest version with a handshake.
pub const LATEST_LEGACY: &str = "2025-11-25";
/// The versions with a handshake that we speak, oldest first.
pub const SUPPORTED_LEGACY: &[&str] = &["2024-11-05", "2025-03-26", "2025-06-18", LATEST_LEGACY];
/// The newest version without a handshake.
pub const LATEST_MODERN: &str = "2026-07-28";
/// The versions without a handshake that we speak, oldest first.
pub const SUPPORTED_MODERN: &[&str] = &[LATEST_MODERN];
/// The headers of a request do not fit what its body says.
pub const HEADER_MISMATCH: i64 = -32020;
/// The server needs something that the client did not say that it can do.
pub(crate) const MISSING_CAPABILITY: i64 = -32021;
/// The server does not speak the version of the request.
pub(crate) const UNSUPPORTED_VERSION: i64 = -32022;

/// Whether only a server of the modern era has this error. One that names only versions with a
/// handshake in it is to be asked for one of those (2026-07-28, basic/versioning).
pub(crate) fn is_modern_error(refusal: &Message) -> bool {
    match refusal.error_code() {
        Some(HEADER_MISMATCH | MISSING_CAPABILITY) => true,
        Some(UNSUPPORTED_VERSION) => !wants_handshake(refusal),
        Some(_) | None => false,
    }
}

/// Whether of the versions we speak it names some, and all with a handshake.
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

/// Whether this is what a server of the modern era answers to `server/discover`: it has to name
/// its versions (2026-07-28, server/discover). Some servers answer whatever they are asked.
pub(crate) fn is_discovery(answer: &Message) -> bool {
    #[derive(Deserialize)]
    struct Discovered<'a> {
        #[serde(borrow, rename = "supportedVersions")]
        _versions: Vec<Cow<'a, str>>,
    }
    let result = answer.result().map(serde_json::value::RawValue::get);
    result.is_some_and(|result| json::read::<Discovered<'_>>(result).is_ok())
}

/// How the two ends agree on what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: `initialize` first, then a session.
    Legacy,
    /// From 2026-07-28: every request says all that there is to know.
    Modern,
}

impl Era {
    /// The one that it is not.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Modern,
            Self::Modern => Self::Legacy,
        }
    }

    /// The era of one message of a client. Responses are legacy: modern clients send none.
    #[must_use]
    pub fn from_message(message: &Message) -> Self {
        ParamsView::new(message).era(message.method())
    }
}

/// What the wire has to know of a message's `params`; whatever is not there, or not of the kind
/// it should be, is `None`.
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

    /// The era of the message that has these parameters and this method.
    pub(crate) fn era(&self, method: Option<&str>) -> Era {
        match method {
            None | Some("initialize") => Era::Legacy,
            Some("server/discover") => Era::Modern,
            Some(_) if self.version().is_some() => Era::Modern,
            Some(_) => Era::Legacy,
        }
    }

    /// `params._meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(crate) fn version(&self) -> Option<&str> {
        Some(&self.version.as_ref()?.0)
    }

    /// What the header `Mcp-Name` repeats, for the methods that have it (2026-07-28, Streamable
    /// HTTP, "Standard Request Headers"; SEP-2663 for tasks).
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

/// A value of another type than the expected is as good as none.
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
    fn an_error_of_the_modern_era_names_a_version_of_it_if_any() {
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
    fn a_discovery_names_versions() {
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
    fn no_member_hides_another() {
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
    fn one_odd_value_hides_no_other() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":{"a":1},"uri":"a\u00e9","_meta":1}}"#;
        let message = message(text);
        let view = ParamsView::new(&message);
        assert_eq!(view.mcp_name("tools/call"), None);
        assert_eq!(view.mcp_name("resources/read"), Some("aé"));
        assert_eq!(view.mcp_name("ping"), None);
        assert_eq!(view.version(), None);
    }
}
