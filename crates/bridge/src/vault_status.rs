//! The state of the vault, as users see it.
//!
//! Owns: opening the vault before it is needed, noticing that it can be used again, and storing
//! tokens whose storage failed. Does not own: the vault itself (`auth`).

use std::time::Duration;

use auth::{Account, Identity};
use control::api::{Problem, ProblemKind, VaultState, VaultView};

use crate::VaultChoice;
use crate::notifications::Notifications;

/// The hint if there is no keychain.
const NO_KEYCHAIN: &str = "start a Secret Service such as gnome-keyring, or choose a key file: `POSTERN_VAULT=file postern bridge --replace --detach`";

/// How long reading the state waits for the keychain.
const KEYCHAIN_TIMEOUT: Duration = Duration::from_millis(300);

/// The state of the vault. Clones share it.
#[derive(Clone)]
pub(crate) struct VaultStatus {
    choice: VaultChoice,
    identity: Identity,
    notifications: Notifications,
}

impl VaultStatus {
    pub(crate) fn new(
        choice: VaultChoice,
        identity: Identity,
        notifications: Notifications,
    ) -> Self {
        Self {
            choice,
            identity,
            notifications,
        }
    }

    /// Returns the state of the vault. Reads the accounts first.
    pub(crate) async fn read(&self) -> VaultView {
        self.accounts().await;
        self.view()
    }

    /// Returns the state of the vault, as far as it is known.
    pub(crate) fn view(&self) -> VaultView {
        vault_view(self.choice, &self.identity.vault_state())
    }

    /// Returns the accounts. Returns none while the keychain waits for the user, so that the state
    /// is shown at once.
    pub(crate) async fn accounts(&self) -> Vec<Account> {
        let known = tokio::time::timeout(KEYCHAIN_TIMEOUT, self.identity.accounts()).await;
        let accounts = known.unwrap_or_default();
        if self.has_problem() {
            // The user may have started or unlocked the keychain.
            let _ = tokio::time::timeout(KEYCHAIN_TIMEOUT, self.probe()).await;
        }
        accounts
    }

    /// Opens the vault before it is needed, and shows its accounts. If nothing is stored yet,
    /// checks whether something could be.
    pub(crate) async fn open(self) {
        self.identity.accounts().await;
        self.probe().await;
        self.notifications.state_changed();
    }

    /// Stores tokens whose storage failed, and shows that such tokens exist. Never returns.
    pub(crate) async fn keep_tokens_stored(self) {
        let mut changes = self.identity.vault_changes();
        let shown = async {
            while changes.changed().await.is_ok() {
                self.notifications.state_changed();
            }
        };
        tokio::join!(self.identity.store_unsaved(), shown);
    }

    /// Checks whether there is a keychain, and logs a change.
    pub(crate) async fn probe(&self) {
        let before = self.identity.vault_state();
        self.identity.probe_vault().await;
        let now = self.identity.vault_state();
        if now == before {
            return;
        }
        match &now {
            auth::VaultState::Absent { reason } => {
                tracing::warn!(
                    reason,
                    hint = NO_KEYCHAIN,
                    "there is no keychain, sign-ins cannot be kept"
                );
            }
            auth::VaultState::Locked => tracing::info!("the keychain is locked"),
            auth::VaultState::Unopened { .. }
            | auth::VaultState::Ready { .. }
            | auth::VaultState::Behind(_) => tracing::info!("the keychain can be used now"),
        }
        self.notifications.state_changed();
    }

    fn has_problem(&self) -> bool {
        match self.identity.vault_state() {
            auth::VaultState::Locked | auth::VaultState::Absent { .. } => true,
            auth::VaultState::Unopened { .. }
            | auth::VaultState::Ready { .. }
            | auth::VaultState::Behind(_) => false,
        }
    }
}

/// Builds the view of the vault.
fn vault_view(choice: VaultChoice, state: &auth::VaultState) -> VaultView {
    let (state, detail, hint) = match (state, choice) {
        (auth::VaultState::Locked, _) => (
            VaultState::Locked,
            "The keychain is locked. Unlock it, then try again.".to_owned(),
            Some("unlock the keychain, then try again".to_owned()),
        ),
        (auth::VaultState::Absent { reason }, _) => {
            let Problem { message, hint, .. } = Problem::from_text(ProblemKind::Vault, reason);
            (
                VaultState::Absent,
                format!("There is no keychain: {message}."),
                hint.or_else(|| Some(NO_KEYCHAIN.to_owned())),
            )
        }
        (auth::VaultState::Behind(unsaved), _) => behind(unsaved),
        (_, VaultChoice::Keychain) => (
            VaultState::Keychain,
            "Tokens are kept in files sealed with a key from the system's keychain.".to_owned(),
            None,
        ),
        (_, VaultChoice::File) => (
            VaultState::KeyFile,
            "Tokens are kept in files sealed with a key file, as POSTERN_VAULT=file asks. \
             Anyone who can read that file can read them."
                .to_owned(),
            None,
        ),
    };
    VaultView {
        state,
        detail,
        hint,
    }
}

/// Returns the state and the hint for tokens that are only in memory.
fn behind(unsaved: &auth::Unsaved) -> (VaultState, String, Option<String>) {
    let cause = match &unsaved.error {
        auth::VaultError::Io { path, reason } => Problem::new(
            ProblemKind::Vault,
            Problem::from_text(ProblemKind::Vault, reason).message,
        )
        .with_hint(format!(
            "free space on the disk of {}, or check who may write there",
            path.parent().unwrap_or(path).display()
        )),
        error => Problem::from_text(ProblemKind::Vault, &error.to_string()),
    };
    let (hours, minutes) = (unsaved.since / 3600 % 24, unsaved.since / 60 % 60);
    let detail = format!(
        "The newest tokens of {} cannot be stored since {hours:02}:{minutes:02} UTC: {}.",
        unsaved.accounts.join(", "),
        cause.message
    );
    let then = "Postern then stores them by itself; do not end the bridge before that";
    let hint = match cause.hint {
        Some(hint) => format!("{hint}; {then}"),
        None => then.to_owned(),
    };
    (VaultState::Behind, detail, Some(hint))
}
