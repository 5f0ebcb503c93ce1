//! Grants that are newer than their record in the vault, because it could not be written.
//!
//! Owns: which these are, and why. Their content stays in their entries, so a later write stores
//! the newest.
//! Does not own: when to retry.

use std::collections::{BTreeSet, HashMap};

use crate::account::Account;
use crate::token::GrantKey;
use crate::vault::{Unsaved, VaultError};

/// The grants to write as soon as possible.
#[derive(Default)]
pub(super) struct UnsavedGrants(HashMap<GrantKey, UnsavedGrant>);

struct UnsavedGrant {
    account: String,
    since: u64,
    error: VaultError,
}

impl UnsavedGrants {
    /// Records that the grant of `account` could not be written. Returns true if that is new.
    pub(super) fn insert(
        &mut self,
        key: &GrantKey,
        account: &Account,
        error: &VaultError,
        now: u64,
    ) -> bool {
        match self.0.get_mut(key) {
            Some(known) if known.error == *error => false,
            Some(known) => {
                known.error = error.clone();
                true
            }
            None => {
                let unsaved = UnsavedGrant {
                    account: shown(account),
                    since: now,
                    error: error.clone(),
                };
                self.0.insert(key.clone(), unsaved);
                true
            }
        }
    }

    /// Records that the grant was written or deleted. Returns true if it was unsaved.
    pub(super) fn remove(&mut self, key: &GrantKey) -> bool {
        self.0.remove(key).is_some()
    }

    pub(super) fn keys(&self) -> Vec<GrantKey> {
        self.0.keys().cloned().collect()
    }

    /// Returns what to report, or `None` if all grants are written.
    pub(super) fn view(&self) -> Option<Unsaved> {
        let first = self.0.values().min_by_key(|unsaved| unsaved.since)?;
        let accounts: BTreeSet<&String> = self.0.values().map(|one| &one.account).collect();
        Some(Unsaved {
            accounts: accounts.into_iter().cloned().collect(),
            since: first.since,
            error: first.error.clone(),
        })
    }
}

fn shown(account: &Account) -> String {
    let name = account.username.as_ref().or(account.name.as_ref());
    name.unwrap_or(&account.key.subject).clone()
}
