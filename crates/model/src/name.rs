//! The names that users give to servers and secrets.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A server's name: `[a-z0-9-]{1,63}`, so that it fits a path segment, a file name and an
/// argument without quoting.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9-]{1,63}$"))]
pub struct ServerName(String);

/// Why a text is not a [`ServerName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a server name; hint: use 1 to 63 of a-z, 0-9 and -")]
pub struct NameError(String);

impl ServerName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a stored secret: `[a-z0-9-]{1,63}`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9-]{1,63}$"))]
pub struct SecretName(String);

/// Why a text is not a [`SecretName`]. Does not contain the text, because a user may have entered the
/// secret instead of its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a secret's name; hint: use 1 to 63 of a-z, 0-9 and -")]
pub struct SecretNameError(());

impl SecretName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_valid_name(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&text.len()) && text.bytes().all(is_plain)
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match is_valid_name(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(NameError(text.to_owned())),
        }
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        match is_valid_name(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(SecretNameError(())),
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;

    fn try_from(text: String) -> Result<Self, SecretNameError> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{SecretName, ServerName};

    #[test]
    fn secret_name_error_does_not_contain_text() {
        assert_eq!("crm-key".parse::<SecretName>().unwrap().as_str(), "crm-key");
        let refused = "Hush!".parse::<SecretName>().unwrap_err();
        assert!(!refused.to_string().contains("Hush"), "{refused}");
    }

    #[test]
    fn server_name_accepts_only_path_segment_characters() {
        for good in ["a", "snippets", "team-1", &"x".repeat(63)] {
            assert_eq!(good.parse::<ServerName>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "a b", "a/b", "ä", "..", &"x".repeat(64)] {
            assert!(bad.parse::<ServerName>().is_err(), "{bad}");
        }
    }
}
