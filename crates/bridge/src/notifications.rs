//! Notifications of changes, for the desktop app, the command line and sessions.
//!
//! Does not own: what has changed. A receiver reads that itself, and may miss changes that follow
//! each other.

use tokio::sync::watch;

/// Sends notifications of changes. Clones share the receivers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifications {
    state: watch::Sender<()>,
    accounts: watch::Sender<()>,
}

impl Notifications {
    /// Notifies all watchers that the state has changed.
    pub(crate) fn state_changed(&self) {
        self.state.send_replace(());
    }

    /// Notifies of changes of the state.
    pub(crate) fn state_changes(&self) -> watch::Receiver<()> {
        self.state.subscribe()
    }

    /// Notifies all sessions that an account has signed in or out, or that a secret was stored or
    /// deleted.
    pub(crate) fn accounts_changed(&self) {
        self.accounts.send_replace(());
    }

    /// Notifies of accounts that signed in or out, and of changed secrets.
    pub(crate) fn account_changes(&self) -> watch::Receiver<()> {
        self.accounts.subscribe()
    }

    /// Notifies of every sign-in that `sign_ins` announces, even if it was cancelled just before.
    pub(crate) async fn follow_sign_ins(self, mut sign_ins: watch::Receiver<()>) {
        while sign_ins.changed().await.is_ok() {
            self.accounts_changed();
            self.state_changed();
        }
    }
}
