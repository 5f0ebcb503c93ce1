//! The grants whose record in the vault is older than they are, because it could not be written.
//!
//! Owns: which these are, and why. Their content is in their slots, and is written from there, so
//! what is written later is the newest. Does not own: when that is tried again.

use std::collections::{BTreeSet, HashMap};

use crate::account::Account;
use crate::token::GrantKey;
use crate::vault::{Unsaved, VaultError};

/// The grants that are to be written once that is possible.
#[derive(Default)]
pub(super) struct UnsavedGrants(HashMap<GrantKey, Setback>);

struct Setback {
    account: String,
    since: u64,
    error: VaultError,
}

impl UnsavedGrants {
    /// Takes note that the grant of `account` could not be written, `now`. Returns true if that is
    /// news.
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
                let setback = Setback {
                    account: shown(account),
                    since: now,
                    error: error.clone(),
                };
                self.0.insert(key.clone(), setback);
                true
            }
        }
    }

    /// Takes note that the grant is written, or forgotten. Returns true if that is news.
    pub(super) fn remove(&mut self, key: &GrantKey) -> bool {
        self.0.remove(key).is_some()
    }

    pub(super) fn keys(&self) -> Vec<GrantKey> {
        self.0.keys().cloned().collect()
    }

    /// Returns what to tell, or `None` if everything is written.
    pub(super) fn view(&self) -> Option<Unsaved> {
        let first = self.0.values().min_by_key(|setback| setback.since)?;
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
