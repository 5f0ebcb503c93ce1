//! Whether a server was found to offer a way to sign in.

use std::time::Duration;

use tokio::time::Instant;

/// How long a result is used.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// The result of a lookup.
#[derive(Clone, Debug)]
pub(crate) struct SignInLookup {
    /// Whether the server offers no way to sign in.
    pub(crate) is_none: bool,
    challenge: Option<String>,
    at: Instant,
}

impl SignInLookup {
    /// Creates the result of a lookup that ends now, after this challenge.
    pub(crate) fn new(is_none: bool, challenge: Option<String>) -> Self {
        Self {
            is_none,
            challenge,
            at: Instant::now(),
        }
    }

    /// Returns true if the result still applies to a server with this challenge.
    pub(crate) fn is_fresh(&self, challenge: Option<&str>) -> bool {
        self.challenge.as_deref() == challenge && self.at.elapsed() < FRESH_FOR
    }
}

/// Returns true if a challenge names the protected resource metadata (RFC 9728 §5.1).
pub(crate) fn names_metadata(challenge: &str) -> bool {
    challenge.contains("resource_metadata")
}
