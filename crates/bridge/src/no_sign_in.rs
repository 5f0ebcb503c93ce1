//! Servers that answer 401 and offer no way to sign in, for example because they want an API key.
//!
//! Owns: when that is looked up, and how long the result is valid. Does not own: the lookup itself
//! (`auth`), and how a session reacts to it.

use std::time::Duration;

use auth::{Identity, SignInError};
use model::config::ServerAuth;
use tokio::time::Instant;

use crate::registry::Server;

/// Timeout of the lookup. Until it has a result, a server counts as one with a sign-in.
const TIMEOUT: Duration = Duration::from_secs(5);

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
    fn is_fresh(&self, challenge: Option<&str>) -> bool {
        self.challenge.as_deref() == challenge && self.at.elapsed() < FRESH_FOR
    }
}

/// Returns true if a server that answered 401 offers no way to sign in. Sends no request if the
/// challenge or the configuration names one, or if an account has used the server before.
pub(crate) async fn names_no_sign_in(identity: &Identity, server: &Server) -> bool {
    let challenge = server.challenge();
    let is_named = challenge.as_deref().is_some_and(names_metadata);
    if is_named || server.was_signed_in() || !matches!(server.config.auth, ServerAuth::Discover) {
        return false;
    }
    let known = server.sign_in_lookup();
    if let Some(known) = known.filter(|known| known.is_fresh(challenge.as_deref())) {
        return known.is_none;
    }
    let target = server.target();
    let finding = identity.find_sign_in(&target, challenge.as_deref());
    let found = tokio::time::timeout(TIMEOUT, finding).await;
    let is_none = matches!(found, Ok(Err(SignInError::NoSignIn { .. })));
    server.record_sign_in_lookup(SignInLookup {
        is_none,
        challenge,
        at: Instant::now(),
    });
    is_none
}

/// Returns true if a challenge names the protected resource metadata (RFC 9728 §5.1).
pub(crate) fn names_metadata(challenge: &str) -> bool {
    challenge.contains("resource_metadata")
}
