//! The scopes of other resources that servers asked for.
//!
//! They are dropped. The user is informed, because an honest server does not ask for them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::target::Target;

/// Scopes of other resources, by the URL of the server that named them.
#[derive(Debug, Default)]
pub(crate) struct ForeignScopes(Mutex<HashMap<String, BTreeSet<String>>>);

/// The maximum number of scopes that are kept for one server, and their maximum length.
const MAX_SCOPES: usize = 20;
const MAX_LENGTH: usize = 200;

impl ForeignScopes {
    /// Records dropped scopes. Logs the new ones.
    pub(crate) fn record(&self, target: &Target, scopes: &[String]) {
        if scopes.is_empty() {
            return;
        }
        let mut all = self.lock();
        let known = all.entry(target.url().as_str().to_owned()).or_default();
        for scope in scopes {
            let scope: String = crate::text::one_line(scope)
                .chars()
                .take(MAX_LENGTH)
                .collect();
            if known.len() < MAX_SCOPES && known.insert(scope.clone()) {
                let server = target.url().shown();
                tracing::warn!(
                    server,
                    scope,
                    "the server asks for a scope of another resource, which is dropped"
                );
            }
        }
    }

    /// Returns the dropped scopes of a server, sorted.
    pub(crate) fn of(&self, target: &Target) -> Vec<String> {
        let all = self.lock();
        let known = all.get(target.url().as_str());
        known.map_or_else(Vec::new, |scopes| scopes.iter().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
