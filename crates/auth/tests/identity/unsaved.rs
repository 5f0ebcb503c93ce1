//! Tokens that are refreshed while the vault cannot be written.

use std::path::PathBuf;
use std::time::Duration;

use auth::{SignInReason, Vault, VaultState};
use tempfile::TempDir;

use super::authority::{Rotation, TENANT};
use super::fixture::{Fixture, reason, shown};

/// Much longer than the next write to the vault takes.
const BOUND: Duration = Duration::from_secs(60);

/// A folder that a file can replace. Then no user can write there, not even root.
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

/// Signs in, and refreshes once while the vault cannot be written.
async fn refreshed_while_blocked(folder: &Folder) -> Fixture {
    let fixture = Fixture::with_vault(Vault::file(&folder.path())).await;
    fixture.sign_in(&fixture.target()).await.unwrap();
    folder.block();
    fixture.advance(3600);
    assert_eq!(fixture.header(&fixture.target()).await, "Bearer access-2");
    fixture
}

/// Returns the header of a new process after a refresh with the stored tokens. The authorization
/// server accepts the newest refresh token only.
async fn refreshed_after_restart(fixture: &Fixture) -> String {
    fixture.advance(3600);
    let authorization = fixture.restarted().authorization(&fixture.target()).await;
    shown(&authorization.unwrap().unwrap())
}

#[tokio::test]
async fn unsaved_token_is_reported_and_stored_later() {
    let folder = Folder::new();
    let fixture = refreshed_while_blocked(&folder).await;
    let VaultState::Behind(unsaved) = fixture.identity.vault_state() else {
        panic!("{:?}", fixture.identity.vault_state());
    };
    assert_eq!(unsaved.accounts.len(), 1, "{unsaved:?}");
    assert_eq!(unsaved.since, super::START + 3600);

    let mut changes = fixture.identity.vault_changes();
    folder.unblock();
    let stored = async {
        while matches!(fixture.identity.vault_state(), VaultState::Behind(_)) {
            changes.changed().await.unwrap();
        }
    };
    tokio::select! {
        never = fixture.identity.store_unsaved() => match never {},
        stored = tokio::time::timeout(BOUND, stored) => stored.expect("it is stored"),
    }
    assert_eq!(refreshed_after_restart(&fixture).await, "Bearer access-3");
}

#[tokio::test]
async fn unsaved_token_is_stored_on_exit() {
    let folder = Folder::new();
    let fixture = refreshed_while_blocked(&folder).await;
    // The newest of several tokens.
    fixture.advance(3600);
    assert_eq!(fixture.header(&fixture.target()).await, "Bearer access-3");
    folder.unblock();
    fixture.identity.settled().await;
    assert_eq!(refreshed_after_restart(&fixture).await, "Bearer access-4");
}

#[tokio::test]
async fn sign_out_of_unsaved_account_is_final() {
    let folder = Folder::new();
    let fixture = refreshed_while_blocked(&folder).await;
    folder.unblock();
    let accounts = fixture.identity.accounts().await;
    fixture.identity.sign_out(&accounts[0].key).await.unwrap();
    fixture.identity.settled().await;
    assert!(!matches!(
        fixture.identity.vault_state(),
        VaultState::Behind(_)
    ));
    let identity = fixture.restarted();
    assert_eq!(
        reason(&identity, &fixture.target()).await,
        SignInReason::NotSignedIn
    );
}

#[tokio::test]
async fn derived_grant_is_used_unsaved_and_stored_later() {
    let folder = Folder::new();
    let fixture = Fixture::with_vault(Vault::file(&folder.path())).await;
    fixture.authority.set(|b| {
        b.issuer = None;
        b.rotation = Rotation::Lenient;
    });
    fixture.sign_in(&fixture.entra_usual()).await.unwrap();
    folder.block();
    let other = fixture.entra(TENANT, &["api://other-api/files.read"]);
    assert_eq!(fixture.header(&other).await, "Bearer access-2");
    assert!(matches!(
        fixture.identity.vault_state(),
        VaultState::Behind(_)
    ));
    folder.unblock();
    fixture.identity.settled().await;
    let stored = fixture.restarted().authorization(&other).await;
    assert_eq!(shown(&stored.unwrap().unwrap()), "Bearer access-2");
}
