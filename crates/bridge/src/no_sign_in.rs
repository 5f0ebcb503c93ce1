//! Servers that answer 401 and offer no way to sign in, for example because they want an API key.
//!
//! Owns: when that is looked up. Does not own: the lookup itself (`auth`), how long its result is
//! valid (`registry`), and how a session reacts to it.

use std::time::Duration;

use auth::{Identity, SignInError};
use model::config::ServerAuth;

use crate::registry::{Server, SignInLookup, names_metadata};

/// Timeout of the lookup. Until it has a result, a server counts as one with a sign-in.
const TIMEOUT: Duration = Duration::from_secs(5);

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
    server.record_sign_in_lookup(SignInLookup::new(is_none, challenge));
    is_none
}
