//! Tokens that are refreshed while the vault cannot be written.

use std::path::PathBuf;
use std::time::Duration;

use auth::{SignInReason, Vault, VaultState};
use tempfile::TempDir;

use super::authority::{Rotation, TENANT};
use super::fixture::{Desk, reason, shown};

/// Far longer than a vault that can be written again is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// A folder in whose place there can be a file: then no user can write there, not even root.
struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn aside(&self) -> PathBuf {
        self.dir.path().join("aside")
    }

    fn block(&self) {
        std::fs::rename(self.path(), self.aside()).unwrap();
        std::fs::write(self.path(), "").unwrap();
    }

    fn unblock(&self) {
        std::fs::remove_file(self.path()).unwrap();
        std::fs::rename(self.aside(), self.path()).unwrap();
    }
}

/// Signed in, and refreshed once while nothing could be written.
async fn refreshed_while_blocked(folder: &Folder) -> Desk {
    let desk = Desk::with_vault(Vault::file(&folder.path())).await;
    desk.sign_in(&desk.target()).await.unwrap();
    folder.block();
    desk.advance(3600);
    assert_eq!(desk.header(&desk.target()).await, "Bearer access-2");
    desk
}

/// What a process that starts now sends, from what is stored, once its token has to be refreshed.
/// The authorization server takes the newest refresh token and no other.
async fn refreshed_after_restart(desk: &Desk) -> String {
    desk.advance(3600);
    let authorization = desk.restarted().authorization(&desk.target()).await;
    shown(&authorization.unwrap().unwrap())
}

#[tokio::test]
async fn unsaved_token_is_reported_and_stored_later() {
    let folder = Folder::new();
    let desk = refreshed_while_blocked(&folder).await;
    let VaultState::Behind(unsaved) = desk.identity.vault_state() else {
        panic!("{:?}", desk.identity.vault_state());
    };
    assert_eq!(unsaved.accounts.len(), 1, "{unsaved:?}");
    assert_eq!(unsaved.since, super::START + 3600);

    let mut changes = desk.identity.vault_changes();
    folder.unblock();
    let stored = async {
        while matches!(desk.identity.vault_state(), VaultState::Behind(_)) {
            changes.changed().await.unwrap();
        }
    };
    tokio::select! {
        never = desk.identity.store_unsaved() => match never {},
        stored = tokio::time::timeout(BOUND, stored) => stored.expect("it is stored"),
    }
    assert_eq!(refreshed_after_restart(&desk).await, "Bearer access-3");
}

#[tokio::test]
async fn unsaved_token_is_stored_at_the_end() {
    let folder = Folder::new();
    let desk = refreshed_while_blocked(&folder).await;
    // The newest one, of several.
    desk.advance(3600);
    assert_eq!(desk.header(&desk.target()).await, "Bearer access-3");
    folder.unblock();
    desk.identity.settled().await;
    assert_eq!(refreshed_after_restart(&desk).await, "Bearer access-4");
}

#[tokio::test]
async fn sign_out_of_unsaved_account_is_final() {
    let folder = Folder::new();
    let desk = refreshed_while_blocked(&folder).await;
    folder.unblock();
    let accounts = desk.identity.accounts().await;
    desk.identity.sign_out(&accounts[0].key).await.unwrap();
    desk.identity.settled().await;
    assert!(!matches!(
        desk.identity.vault_state(),
        VaultState::Behind(_)
    ));
    let identity = desk.restarted();
    assert_eq!(
        reason(&identity, &desk.target()).await,
        SignInReason::NotSignedIn
    );
}

#[tokio::test]
async fn derived_grant_is_used_unsaved_and_stored_later() {
    let folder = Folder::new();
    let desk = Desk::with_vault(Vault::file(&folder.path())).await;
    desk.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    desk.sign_in(&desk.entra_usual()).await.unwrap();
    folder.block();
    let other = desk.entra(TENANT, &["api://other-api/files.read"]);
    assert_eq!(desk.header(&other).await, "Bearer access-2");
    assert!(matches!(desk.identity.vault_state(), VaultState::Behind(_)));
    folder.unblock();
    desk.identity.settled().await;
    let stored = desk.restarted().authorization(&other).await;
    assert_eq!(shown(&stored.unwrap().unwrap()), "Bearer access-2");
}
