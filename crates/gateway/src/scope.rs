//! Scopes: words that a client requests, the gateway grants and a server requires.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Scopes of OpenID Connect that many clients request by default. They have no meaning at a server
/// here, and are no reason to reject a client.
const IGNORED: [&str; 6] = [
    "address",
    "email",
    "offline_access",
    "openid",
    "phone",
    "profile",
];

/// A set of scopes, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Scopes(Vec<String>);

/// The request has a scope that the server does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownScope;

impl Scopes {
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Self {
        let mut scopes = Self::default();
        for word in words {
            if !scopes.0.contains(&word) {
                scopes.0.push(word);
            }
        }
        scopes
    }

    /// Parses words separated by spaces (RFC 6749 §3.3).
    pub(crate) fn from_words(text: &str) -> Self {
        Self::new(
            text.split(' ')
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        )
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|word| self.0.contains(word))
    }

    /// Returns the scopes of `needed` that are missing here.
    pub(crate) fn missing(&self, needed: &Self) -> Self {
        Self(
            needed
                .0
                .iter()
                .filter(|word| !self.0.contains(word))
                .cloned()
                .collect(),
        )
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).cloned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Returns the scopes for a client that requests `asked` at a server with `offered`: the requested
/// ones, or all of the server's if it requests none.
pub(crate) fn decide(asked: &Scopes, offered: &Scopes) -> Result<Scopes, UnknownScope> {
    let meant = Scopes::new(
        asked
            .iter()
            .filter(|word| !IGNORED.contains(word) || offered.0.iter().any(|o| o == word))
            .map(str::to_owned),
    );
    if meant.is_empty() {
        Ok(offered.clone())
    } else if offered.covers(&meant) {
        Ok(meant)
    } else {
        Err(UnknownScope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granted_scopes_are_requested_ones_that_server_offers() {
        for (asked, offered, granted) in [
            ("", "a b", Some("a b")),
            ("a", "a b", Some("a")),
            ("b a b", "a b", Some("b a")),
            ("openid email offline_access", "a b", Some("a b")),
            ("a offline_access", "a b", Some("a")),
            ("openid", "openid a", Some("openid")),
            ("c", "a b", None),
            ("a c", "a b", None),
            ("A", "a", None),
            ("", "", Some("")),
        ] {
            let decided = decide(&Scopes::from_words(asked), &Scopes::from_words(offered));
            let decided = decided.ok().map(|scopes| scopes.to_string());
            assert_eq!(decided.as_deref(), granted, "{asked:?} of {offered:?}");
        }
    }

    #[test]
    fn t85_missing_scopes_are_exact() {
        let has = Scopes::from_words("a c");
        assert_eq!(
            has.missing(&Scopes::from_words("a b c d")).to_string(),
            "b d"
        );
        assert!(!has.covers(&Scopes::from_words("a b")));
    }
}
