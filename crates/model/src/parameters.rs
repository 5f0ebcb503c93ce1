//! Parameters of a query or a form: decoding `application/x-www-form-urlencoded`.
//!
//! Does not own: which parameters a request must have, and what its errors look like.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// Parameters in the order in which they were given. A parameter may be there more than once.
///
/// They can contain codes, tokens and secrets, so there is no `Debug`.
pub struct Parameters(Vec<(String, String)>);

/// Parameters that are given at most once (RFC 6749 §3.1). Only [`Parameters::unique`] makes them.
pub struct UniqueParameters(BTreeMap<String, String>);

/// A parameter is not percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a parameter is not percent-encoded UTF-8")]
pub struct MalformedParameter;

/// A parameter is given more than once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter `{0}` is given twice")]
pub struct RepeatedParameter(pub String);

impl Parameters {
    /// Decodes as browsers do (URL standard): an invalid escape stands for itself, and invalid UTF-8
    /// is replaced.
    #[must_use]
    pub fn decode(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// Decodes like [`decode`](Self::decode), but refuses invalid escapes and invalid UTF-8.
    ///
    /// # Errors
    /// If a name or a value is malformed.
    pub fn decode_strictly(text: &[u8]) -> Result<Self, MalformedParameter> {
        let pairs = text.split(|byte| *byte == b'&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = pair.split_at(end.unwrap_or(pair.len()));
            let value = value.get(1..).unwrap_or_default();
            Ok((decoded(name)?, decoded(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the first value of a parameter.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the parameters if each is given once (RFC 6749 §3.1).
    ///
    /// # Errors
    /// If one is repeated, also if a value is empty.
    pub fn unique(self) -> Result<UniqueParameters, RepeatedParameter> {
        let mut found = BTreeMap::new();
        for (name, value) in self.0 {
            if found.contains_key(&name) {
                return Err(RepeatedParameter(name));
            }
            found.insert(name, value);
        }
        Ok(UniqueParameters(found))
    }
}

impl UniqueParameters {
    /// Returns the value of a parameter. One without a value counts as absent (RFC 6749 §3.1).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Returns the value of a parameter, also an empty one.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn decoded(text: &[u8]) -> Result<String, MalformedParameter> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => (digit(rest.next())? << 4) | digit(rest.next())?,
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| MalformedParameter)
}

fn digit(byte: Option<u8>) -> Result<u8, MalformedParameter> {
    let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
    digit
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(MalformedParameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_value_is_returned_and_repetition_is_visible() {
        let parameters = Parameters::decode(b"a=1&b=x%3Dy=z&a=2&c");
        assert_eq!(parameters.first("a"), Some("1"));
        assert_eq!(parameters.first("b"), Some("x=y=z"));
        assert_eq!(parameters.first("c"), Some(""));
        assert_eq!(parameters.first("d"), None);
        let repeated = parameters.unique().err();
        assert_eq!(repeated, Some(RepeatedParameter("a".to_owned())));
        for text in ["a=1&%61=2", "a=&a=2", "a&a"] {
            let parameters = Parameters::decode(text.as_bytes());
            assert!(parameters.unique().is_err(), "{text}");
        }
    }

    #[test]
    fn empty_value_is_given_and_counts_as_absent() {
        let parameters = Parameters::decode(b"a=&&b=1").unique().ok().unwrap();
        assert_eq!(
            (parameters.get("a"), parameters.given("a")),
            (None, Some(""))
        );
        assert_eq!(parameters.get("b"), Some("1"));
        assert_eq!(parameters.given("c"), None);
    }

    #[test]
    fn malformed_text_is_refused_only_strictly() {
        for (text, lenient) in [
            ("a=%", "%"),
            ("a=%zz", "%zz"),
            ("a=%+1", "% 1"),
            ("a=%ff", "\u{fffd}"),
        ] {
            let strict = Parameters::decode_strictly(text.as_bytes());
            assert_eq!(strict.err(), Some(MalformedParameter), "{text}");
            let parameters = Parameters::decode(text.as_bytes());
            assert_eq!(parameters.first("a"), Some(lenient));
        }
        for text in ["a=+%2B%c3%a4", "&b&a=%20%2b%C3%A4"] {
            let strict = Parameters::decode_strictly(text.as_bytes()).ok().unwrap();
            assert_eq!(strict.first("a"), Some(" +ä"), "{text}");
        }
    }
}
