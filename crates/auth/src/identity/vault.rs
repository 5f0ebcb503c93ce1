//! The vault as callers see it: its state, and writing tokens that it could not store yet.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;

use super::Identity;
use crate::token::source::Source;
use crate::vault::{Unsaved, VaultState};

/// The interval between attempts to write tokens to the vault. A write takes a millisecond, and a
/// process that ends before it succeeds may lose a sign-in.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

impl Identity {
    /// Probes whether there is a keychain and whether it is locked, for
    /// [`vault_state`](Self::vault_state), unless that is known. It makes no key, unlocks nothing
    /// and shows no prompt.
    pub async fn probe_vault(&self) {
        self.0.source.store.probe().await;
    }

    /// Returns whether tokens can be read and stored, as far as is known. Never waits.
    #[must_use]
    pub fn vault_state(&self) -> VaultState {
        let store = &self.0.source.store;
        match (store.vault().state(), store.unsaved()) {
            (VaultState::Unopened { .. } | VaultState::Ready { .. }, Some(unsaved)) => {
                VaultState::Behind(unsaved)
            }
            (state, _) => state,
        }
    }

    /// Notifies when tokens could not be written to the vault, and when they were written later.
    #[must_use]
    pub fn vault_changes(&self) -> watch::Receiver<()> {
        self.0.source.store.unsaved_changes()
    }

    /// Writes unsaved tokens to the vault as soon as that is possible. Never returns: run it as
    /// long as there are tokens.
    pub async fn store_unsaved(&self) -> Infallible {
        let store = &self.0.source.store;
        let mut changes = store.unsaved_changes();
        loop {
            match store.unsaved() {
                Some(_) => {
                    tokio::time::sleep(STORE_INTERVAL).await;
                    store.save_unsaved().await;
                }
                None => {
                    // The sender lives as long as this identity.
                    let _ = changes.changed().await;
                }
            }
        }
    }

    /// Waits until no token request is in progress, then writes unsaved tokens. A response may
    /// contain the only valid refresh token, and a process that ends before it arrives loses it.
    pub async fn settled(&self) {
        let Source {
            token_requests,
            store,
            ..
        } = &self.0.source;
        token_requests.close();
        token_requests.wait().await;
        store.save_unsaved().await;
        if let Some(Unsaved {
            accounts, error, ..
        }) = store.unsaved()
        {
            tracing::error!(
                accounts = accounts.join(", "),
                %error,
                "the newest tokens of these accounts are not stored and are lost with this process; they may have to sign in again"
            );
        }
    }
}
