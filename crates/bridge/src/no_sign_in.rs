//! Servers that answer 401 and name no way to sign in, as those that want an API key.
//!
//! Owns: when that is found out, and how long it counts. Does not own: finding out (`auth`), and
//! what a session makes of it.

use std::time::Duration;

use auth::{Identity, SignInError};
use model::config::ServerAuth;
use tokio::time::Instant;

use crate::registry::Server;

/// How long finding out may take. Until it is known, a server counts as one with a sign-in.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long it counts what was found.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// What was found out about a server.
#[derive(Clone, Debug)]
pub(crate) struct SignInLookup {
    /// Whether it names no way to sign in.
    pub(crate) is_none: bool,
    challenge: Option<String>,
    at: Instant,
}

impl SignInLookup {
    fn is_fresh(&self, challenge: Option<&str>) -> bool {
        self.challenge.as_deref() == challenge && self.at.elapsed() < FRESH_FOR
    }
}

/// Finds out whether a server that has answered 401 names no way to sign in. Nothing is asked of a
/// server whose challenge or whose configuration names one, or that an account has opened before.
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

/// Returns whether a challenge says where the server describes how one signs in (RFC 9728 §5.1).
pub(crate) fn names_metadata(challenge: &str) -> bool {
    challenge.contains("resource_metadata")
}
