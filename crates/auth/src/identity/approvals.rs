//! Which resources servers may get tokens for: what the user approved, and the scopes of other
//! resources that servers asked for.

use super::Identity;
use crate::approval::Approval;
use crate::discovery::Challenge;
use crate::target::Target;
use crate::vault::VaultError;

impl Identity {
    /// Stores the user's approval. The next sign-in continues without asking.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if it cannot be stored. Nothing is approved then.
    pub async fn approve(&self, approval: &Approval) -> Result<(), VaultError> {
        self.0.source.approve(approval).await
    }

    /// Deletes what the user approved for the server at the URL of `target`.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if a record cannot be deleted.
    pub async fn forget_approvals(&self, target: &Target) -> Result<(), VaultError> {
        let source = &self.0.source;
        source.store.load().await?;
        let forgotten = source.store.forget_pins(target.url().as_str()).await;
        source.servers.bump();
        forgotten
    }

    /// Records the scopes of other resources that `challenge` names. It is the `WWW-Authenticate`
    /// header of a 401 or 403 of `target`.
    pub fn record_challenge(&self, target: &Target, challenge: &str) {
        self.missing_scopes(target, challenge);
    }

    /// Returns the scopes of other resources that `target` asked for. No sign-in requests them.
    /// Reads memory only: what its challenges and metadata named since the start.
    #[must_use]
    pub fn foreign_scopes(&self, target: &Target) -> Vec<String> {
        self.0.source.foreign_scopes.of(target)
    }

    /// Returns the scopes that `challenge` names and that the last sign-in to `target` did not
    /// request. Empty if there are none. Reads memory only. Compares Entra's scopes with their
    /// resource, and omits those of other resources, which no sign-in requests.
    pub fn missing_scopes(&self, target: &Target, challenge: &str) -> Vec<String> {
        let named = Challenge::parse(challenge).unwrap_or_default().scopes;
        self.0.source.missing_scopes(target, &named)
    }
}
