//! The handshake of the legacy era.
//!
//! Owns: reading `initialize`, its parameters and its result. Does not own: responding to it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::era::lenient;
use crate::json;
use crate::message::Message;

/// The parameters of `initialize`, borrowed from its message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams<'a> {
    /// The version that the client requests.
    #[serde(borrow)]
    pub protocol_version: Cow<'a, str>,
    /// The client's capabilities, as it wrote them.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// The client's name and version.
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub client_info: Option<Implementation<'a>>,
}

/// The result of `initialize`, borrowed from its message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult<'a> {
    /// The agreed version.
    #[serde(borrow)]
    pub protocol_version: Cow<'a, str>,
    /// The server's capabilities, as it wrote them.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// The server's name and version.
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub server_info: Option<Implementation<'a>>,
    /// The server's instructions for the model.
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub instructions: Option<Cow<'a, str>>,
}

/// `clientInfo` or `serverInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Implementation<'a> {
    /// The name for programs.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// The name for users, since 2025-06-18.
    #[serde(borrow, default, deserialize_with = "lenient")]
    pub title: Option<Cow<'a, str>>,
    /// The version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
}

impl<'a> Implementation<'a> {
    /// Parses the client info in the `_meta` of a modern request. Returns `None` if it is absent.
    #[must_use]
    pub fn from_request(request: &'a Message) -> Option<Self> {
        let params: ModernParams<'_> = json::read(request.params()?.get()).ok()?;
        params.meta?.client_info
    }
}

#[derive(Deserialize)]
struct ModernParams<'a> {
    #[serde(rename = "_meta", borrow, default, deserialize_with = "lenient")]
    meta: Option<ModernMeta<'a>>,
}

/// The name is [`META_CLIENT_INFO`](crate::meta::META_CLIENT_INFO).
#[derive(Deserialize)]
struct ModernMeta<'a> {
    #[serde(
        rename = "io.modelcontextprotocol/clientInfo",
        borrow,
        default,
        deserialize_with = "lenient"
    )]
    client_info: Option<Implementation<'a>>,
}

impl<'a> InitializeParams<'a> {
    /// Parses `initialize` params. Returns `None` for other messages, and if the version is
    /// missing.
    #[must_use]
    pub fn from_request(message: &'a Message) -> Option<Self> {
        match message.method() {
            Some("initialize") => json::read(message.params()?.get()).ok(),
            Some(_) | None => None,
        }
    }
}

impl<'a> InitializeResult<'a> {
    /// Parses an `initialize` result. Returns `None` for an error, and if the version is missing.
    #[must_use]
    pub fn from_response(message: &'a Message) -> Option<Self> {
        json::read(message.result()?.get()).ok()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Implementation, InitializeParams, InitializeResult};
    use crate::message::Message;
    use crate::meta::META_CLIENT_INFO;

    #[test]
    fn client_of_modern_request_is_read_from_its_meta() {
        let name = |meta: &str| {
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":1,"_meta":{meta}}}}}"#
            );
            let request = Message::parse(text.into()).unwrap();
            Implementation::from_request(&request).map(|client| client.name.into_owned())
        };
        let said = format!(r#"{{"{META_CLIENT_INFO}":{{"name":"Ünl\u00fc","version":"1"}}}}"#);
        assert_eq!(name(&said).as_deref(), Some("Ünlü"));
        let odd = format!(r#"{{"{META_CLIENT_INFO}":"odd"}}"#);
        for meta in ["{}", "5", "null", &odd] {
            assert_eq!(name(meta), None, "{meta}");
        }
    }

    #[test]
    fn initialize_params_and_result_are_parsed() {
        let request = Message::parse(Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
                "capabilities":{"x": 1.0},"clientInfo":{"name":"Cl\u00e4ude","version":"1","icons":[]}}}"#,
        ));
        let request = request.unwrap();
        let params = InitializeParams::from_request(&request).unwrap();
        assert_eq!(params.protocol_version, "2025-06-18");
        assert_eq!(params.capabilities.unwrap().get(), r#"{"x": 1.0}"#);
        assert_eq!(params.client_info.unwrap().name, "Cläude");

        let answer = Message::parse(Bytes::from_static(
            br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26","serverInfo":"odd"}}"#,
        ));
        let answer = answer.unwrap();
        let result = InitializeResult::from_response(&answer).unwrap();
        assert_eq!(result.protocol_version, "2025-03-26");
        assert!(result.server_info.is_none() && result.capabilities.is_none());
        assert!(
            InitializeParams::from_request(&answer).is_none()
                && InitializeResult::from_response(&request).is_none()
        );
    }
}
