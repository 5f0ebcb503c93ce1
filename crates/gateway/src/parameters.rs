//! Parameters of a query or a form (RFC 6749 §3.1). Each may occur once, in UTF-8, and an empty one
//! counts as absent.

use std::fmt::Write as _;

/// Parsed parameters.
pub(crate) struct Parameters(model::UniqueParameters);

/// Why parameters cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterError {
    #[error("a parameter is given twice")]
    Repeated,
    #[error("a parameter is not percent-encoded UTF-8")]
    Malformed,
    #[error("a required parameter is missing: {0}")]
    Missing(&'static str),
}

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ParameterError> {
        let parameters = model::Parameters::decode_strictly(text);
        let parameters = parameters.map_err(|_| ParameterError::Malformed)?;
        let parameters = parameters.unique();
        parameters.map(Self).map_err(|_| ParameterError::Repeated)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    pub(crate) fn require(&self, name: &'static str) -> Result<&str, ParameterError> {
        self.get(name).ok_or(ParameterError::Missing(name))
    }
}

/// Returns `base` with `parameters` added to its query, and otherwise unchanged. Values are encoded so
/// that form decoding and URL decoding both restore them.
pub(crate) fn append(base: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = base.to_owned();
    for (name, value) in parameters {
        let separator = match text.find('?') {
            None => "?",
            Some(_) if text.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        text.push_str(separator);
        encode(name, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

fn encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_or_malformed_parameter_is_rejected() {
        let read = |text: &str, name| {
            Parameters::parse(text.as_bytes()).map(|p| p.get(name).map(str::to_owned))
        };
        assert_eq!(read("a=1&b=x%3Dy=z", "b"), Ok(Some("x=y=z".to_owned())));
        assert_eq!(read("a=+%2B%c3%a4", "a"), Ok(Some(" +ä".to_owned())));
        assert_eq!(read("a=&b", "a"), Ok(None));
        assert_eq!(read("&&", "a"), Ok(None));
        for (text, error) in [
            ("a=1&a=1", ParameterError::Repeated),
            ("a=1&%61=2", ParameterError::Repeated),
            ("a=&a=2", ParameterError::Repeated),
            ("a=%", ParameterError::Malformed),
            ("a=%zz", ParameterError::Malformed),
            ("a=%+1", ParameterError::Malformed),
            ("a=%ff", ParameterError::Malformed),
        ] {
            assert_eq!(read(text, "a"), Err(error), "{text}");
        }
    }

    #[test]
    fn d19_d21_redirect_keeps_query_and_encodes_values() {
        for (base, expected) in [
            (
                "https://c.example/cb",
                "https://c.example/cb?code=1&state=a%26code%3D2%20%C3%A4",
            ),
            (
                "https://c.example/cb?x=1",
                "https://c.example/cb?x=1&code=1&state=a%26code%3D2%20%C3%A4",
            ),
            ("app:/cb?", "app:/cb?code=1&state=a%26code%3D2%20%C3%A4"),
        ] {
            assert_eq!(
                append(base, &[("code", "1"), ("state", "a&code=2 ä")]),
                expected
            );
        }
    }
}
