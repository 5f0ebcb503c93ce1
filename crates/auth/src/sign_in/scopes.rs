//! Which scopes an authorization request has.

use crate::discovery::AuthorizationServer;

/// The sources of scopes.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) configured: &'a [String],
    /// From the server's challenge.
    pub(super) challenged: &'a [String],
    /// From the server's metadata.
    pub(super) listed: &'a [String],
    /// From the last sign-in.
    pub(super) granted: &'a [String],
    /// True if the scopes were insufficient.
    pub(super) is_step_up: bool,
}

/// Returns the scopes to request: configured, else from the challenge, else from the metadata.
/// After `insufficient_scope` adds the granted ones.
pub(super) fn wanted(sources: &Sources<'_>) -> Vec<String> {
    let first = [sources.configured, sources.challenged, sources.listed]
        .into_iter()
        .find(|scopes| !scopes.is_empty());
    let mut scopes = first.unwrap_or_default().to_vec();
    if sources.is_step_up {
        for scope in sources.challenged.iter().chain(sources.granted) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
    }
    scopes
}

/// Adds the scopes for a refresh token and the user's name, if the server lists them. Not to an
/// empty list: that requests the server's default scopes, which an addition would replace.
pub(super) fn with_sign_in_scopes(
    mut scopes: Vec<String>,
    server: &AuthorizationServer,
) -> Vec<String> {
    if scopes.is_empty() {
        return scopes;
    }
    for scope in ["openid", "profile", "offline_access"] {
        if server.offers_scope(scope) && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}
