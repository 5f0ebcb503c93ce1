//! Headers that are added to every request to a server.
//!
//! Owns: which names are allowed, and whether a value is in the file or is a stored secret.
//! Does not own: the secrets.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::SecretRef;
use crate::SecretName;

/// `[servers.NAME.headers]`: names, each with a value or a reference to a stored secret.
///
/// Names are unique, ignoring case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transparent)]
#[serde(transparent)]
pub struct Headers(BTreeMap<HeaderName, HeaderSource>);

impl Headers {
    /// Iterates over the headers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderSource)> {
        self.0.iter()
    }

    /// Returns whether there are no headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the secrets that the headers refer to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.values().filter_map(|source| match source {
            HeaderSource::Secret(SecretRef { secret }) => Some(secret),
            HeaderSource::Plain(_) => None,
        })
    }

    /// Returns the name of the `Authorization` header as written in the file, if it is present.
    pub(super) fn authorization(&self) -> Option<&HeaderName> {
        let is_it = |name: &&HeaderName| name.0.eq_ignore_ascii_case("authorization");
        self.0.keys().find(is_it)
    }
}

/// If a name occurs several times, the last value is used.
impl FromIterator<(HeaderName, HeaderSource)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderSource)>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// The name of a header that a user may set (RFC 9110 section 5.1).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct HeaderName(String);

/// Why a text is not a [`HeaderName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// It is not a valid header name.
    #[error("is not a header name; hint: use letters, digits and -, as in X-Api-Key")]
    Malformed,
    /// Postern or the transport sets this header.
    #[error("is a header that Postern sets itself; hint: remove it")]
    Reserved,
}

/// Headers of the message's type, its framing, its routing and the protocol.
const RESERVED: [&str; 13] = [
    "accept",
    "accept-encoding",
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const RESERVED_PREFIXES: [&str; 4] = ["content-", "mcp-", "proxy-", "sec-"];

impl HeaderName {
    /// The name as it was written; case means nothing.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HeaderName {
    type Error = HeaderNameError;

    fn try_from(text: String) -> Result<Self, HeaderNameError> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(HeaderNameError::Malformed);
        }
        let lower = text.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str())
            || RESERVED_PREFIXES
                .iter()
                .any(|prefix| lower.starts_with(prefix))
        {
            return Err(HeaderNameError::Reserved);
        }
        Ok(Self(text))
    }
}

impl Ord for HeaderName {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |name: &Self| name.0.to_ascii_lowercase();
        lower(self).cmp(&lower(other))
    }
}

impl PartialOrd for HeaderName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for HeaderName {}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The source of a header's value.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(deny_unknown_fields)]
pub enum HeaderSource {
    /// The value itself, if it is not secret.
    Plain(String),
    /// A secret that was stored with `postern secrets set`.
    Secret(SecretRef),
}

/// Omits plain values, because they may be secret by mistake.
impl fmt::Debug for HeaderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(…)"),
            Self::Secret(SecretRef { secret }) => f.debug_tuple("Secret").field(secret).finish(),
        }
    }
}

/// Returns whether a text is a valid header value: printable ASCII and tabs, without leading or trailing
/// whitespace (RFC 9110 section 5.5).
#[must_use]
pub fn is_header_value(text: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    !text.is_empty() && text.trim() == text && text.bytes().all(fits)
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of headers")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Headers, M::Error> {
        let mut headers = BTreeMap::new();
        while let Some((name, source)) = map.next_entry::<HeaderName, HeaderSource>()? {
            match headers.entry(name) {
                Entry::Vacant(free) => free.insert(source),
                Entry::Occupied(taken) => {
                    let text = format!(
                        "duplicate header {}; hint: header names are case-insensitive",
                        taken.key()
                    );
                    return Err(M::Error::custom(text));
                }
            };
        }
        Ok(Headers(headers))
    }
}

impl<'de> Deserialize<'de> for HeaderSource {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = HeaderSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or { secret = \"NAME\" } for a stored secret")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HeaderSource, E> {
        if !is_header_value(text) {
            return Err(E::custom(
                "is not a header value; hint: use printable ASCII without leading or trailing spaces",
            ));
        }
        Ok(HeaderSource::Plain(text.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<HeaderSource, M::Error> {
        let fields = serde::de::value::MapAccessDeserializer::new(map);
        SecretRef::deserialize(fields).map(HeaderSource::Secret)
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    fn parse(text: &str) -> Result<Headers, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn header_value_is_string_or_secret() {
        let headers = parse(
            "X-Team = 'blue'\nX-Api-Key = { secret = 'crm-key' }\nauthorization = 'Basic eA=='",
        )
        .unwrap();
        let secrets: Vec<_> = headers.secrets().map(|name| name.as_str()).collect();
        assert_eq!(secrets, ["crm-key"]);
        assert_eq!(headers.authorization().unwrap().as_str(), "authorization");
        let shown = format!("{headers:?}");
        assert!(
            shown.contains("crm-key") && shown.contains("X-Team"),
            "{shown}"
        );
        assert!(!shown.contains("blue"), "{shown}");
        let again = toml::to_string(&headers).unwrap();
        assert_eq!(parse(&again).unwrap(), headers);
    }

    #[test]
    fn reserved_and_invalid_headers_are_rejected() {
        for name in [
            "Host",
            "content-type",
            "Content-Length",
            "ACCEPT",
            "Mcp-Session-Id",
            "mcp-param-region",
            "Connection",
            "Transfer-Encoding",
            "Proxy-Authorization",
            "Last-Event-ID",
        ] {
            let error = parse(&format!("{name} = 'x'")).unwrap_err();
            assert!(error.message().contains("sets itself"), "{name}: {error}");
        }
        for (text, expected) in [
            ("'X Y' = 'x'", "not a header name"),
            ("'' = 'x'", "not a header name"),
            ("X-A = 'x'\nx-a = 'y'", "duplicate"),
            ("X-A = 7", "secret"),
            ("X-A = ''", "not a header value"),
            ("X-A = \"a\\nb\"", "not a header value"),
            ("X-A = { secret = 'a b' }", "secret's name"),
            ("X-A = { keychian = 'a' }", "keychian"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
        }
    }
}
