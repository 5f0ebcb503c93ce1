//! The id of a JSON-RPC request.
//!
//! Owns: when two ids are equal. Does not own: which request a response answers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::members::unescaped;

/// The id of a request: a string or a number, as the JSON text it arrived as.
///
/// Two ids are equal if they are the same JSON value: a response may spell `"é"` as `"\u00e9"`, or
/// `1.0` as `1`, and still answers the request. The string `"1"` and the number `1` differ.
/// Integers are compared digit by digit, so none is too large. Clones share the text.
#[derive(Clone)]
pub struct RequestId {
    text: Arc<str>,
    /// The spelling that all equal ids share. `None` if `text` is that spelling.
    canonical: Option<Arc<str>>,
}

impl RequestId {
    /// Creates a number id.
    #[must_use]
    pub fn number(number: i64) -> Self {
        Self::verbatim(&number.to_string())
    }

    /// Creates a string id.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::verbatim(&serde_json::Value::from(text).to_string())
    }

    /// Parses the JSON text of a string or a number. Returns `None` for anything else.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        match serde_json::from_str::<&serde_json::value::RawValue>(json) {
            Ok(raw) => Self::from_valid_json(raw.get()),
            Err(_) => None,
        }
    }

    /// Parses as [`Self::from_json`] does, from one JSON value without surrounding spaces.
    pub(crate) fn from_valid_json(json: &str) -> Option<Self> {
        let canonical = match json.as_bytes().first()? {
            b'"' => canonical_string(json),
            b'-' | b'0'..=b'9' => canonical_number(json),
            _ => return None,
        };
        Some(Self {
            text: json.into(),
            canonical: canonical.map(Into::into),
        })
    }

    /// Returns the id as JSON text, exactly as it arrived.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.text
    }

    fn verbatim(json: &str) -> Self {
        Self {
            text: json.into(),
            canonical: None,
        }
    }

    fn canonical(&self) -> &str {
        self.canonical.as_ref().unwrap_or(&self.text)
    }
}

/// Returns the canonical spelling of a string, which differs only if there are escapes. A string
/// with half a surrogate pair is not valid text. Its canonical spelling shows its bytes, which is
/// not valid JSON and therefore equals no other string's.
fn canonical_string(json: &str) -> Option<String> {
    if !json.contains('\\') {
        return None;
    }
    let bytes = unescaped(json).ok()?;
    Some(match std::str::from_utf8(&bytes) {
        Ok(text) => serde_json::Value::from(text).to_string(),
        Err(_) => format!("bytes {}", bytes.escape_ascii()),
    })
}

/// Returns the canonical spelling of a number. Plain integers other than minus zero have only one.
/// All other numbers are compared as doubles, as other implementations do.
fn canonical_number(json: &str) -> Option<String> {
    if json != "-0" && !json.contains(['.', 'e', 'E']) {
        return None;
    }
    let number: f64 = json.parse().ok()?;
    Some((number + 0.0).to_string())
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    fn id(json: &str) -> RequestId {
        RequestId::from_json(json).unwrap()
    }

    #[test]
    fn equal_values_are_equal_ids_and_keep_their_spelling() {
        for (one, other) in [
            (r#""é""#, r#""\u00e9""#),
            (r#""a/b""#, r#""a\/b""#),
            (r#""a\ud800""#, r#""\u0061\uD800""#),
            ("1", "1.0"),
            ("100", "1e2"),
            ("0", "-0"),
            ("0", "-0.0"),
        ] {
            assert_eq!(id(one), id(other), "{one} {other}");
            assert_eq!(id(other).as_json(), other);
        }
    }

    #[test]
    fn different_values_are_different_ids() {
        for (one, other) in [
            (r#""1""#, "1"),
            ("9007199254740993", "9007199254740992"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567891",
            ),
            (r#""a""#, r#""A""#),
            (r#""\ud800""#, r#""\ud801""#),
        ] {
            assert_ne!(id(one), id(other), "{one} {other}");
        }
    }

    #[test]
    fn other_json_values_are_not_ids() {
        for json in ["null", "true", "{}", "[1]", "", "1 2", "\"", "01"] {
            assert!(RequestId::from_json(json).is_none(), "{json}");
        }
        assert_eq!(RequestId::number(-7), id("-7"));
        assert_eq!(RequestId::string("a\"b\n"), id(r#""a\"b\u000a""#));
    }
}
