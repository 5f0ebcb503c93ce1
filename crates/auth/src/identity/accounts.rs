//! The accounts: which there are, which a target uses, and signing out.

use std::sync::Arc;

use model::EndpointUrl;
use model::config::ServerAuth;
use url::Url;

use super::Identity;
use crate::account::{Account, AccountKey};
use crate::error::{AuthorizationError, SignOutError};
use crate::target::Target;
use crate::token::{Grant, GrantEntry, form};

impl Identity {
    /// Returns all accounts, sorted by key. Empty if the vault cannot be read: see
    /// [`vault_state`](Self::vault_state).
    pub async fn accounts(&self) -> Vec<Account> {
        let store = &self.0.source.store;
        if let Err(error) = store.load().await {
            tracing::warn!(%error, "the accounts cannot be read");
        }
        let entries = store.grants().into_iter();
        let mut accounts: Vec<_> = entries
            .map(|entry| entry.with_grant(|grant| grant.account.clone()))
            .collect();
        accounts.sort_by(|a, b| a.key.cmp(&b.key));
        accounts.dedup_by(|a, b| a.key == b.key);
        accounts
    }

    /// Returns the account that `target` uses: a user's, or the client's own. Reads memory only:
    /// returns `None` until another call has read the vault, as [`accounts`](Self::accounts) does.
    #[must_use]
    pub fn account_for(&self, target: &Target) -> Option<Account> {
        if let ServerAuth::ClientCredentials(_) = target.auth() {
            return self.0.token_cache.account(target);
        }
        let entry = self.0.source.store.grant_for(target.key())?;
        Some(entry.with_grant(|grant| grant.account.clone()))
    }

    /// Switches `target` to `account` without a browser. Returns true if the account is in use
    /// already, or if one of its sign-ins at the same Entra client serves the target.
    ///
    /// # Errors
    ///
    /// [`AuthorizationError`], if the authorization server or the vault cannot be reached.
    pub async fn switch_account(
        &self,
        target: &Target,
        account: &AccountKey,
    ) -> Result<bool, AuthorizationError> {
        self.0.source.switch_account(target, account).await
    }

    /// Returns the page that ends the browser session of the account (OpenID Connect RP-Initiated
    /// Logout 1.0), so that the next sign-in asks for a password again. Returns `None` if the
    /// authorization server has no such page. Call it before [`sign_out`](Self::sign_out), which
    /// deletes the URL.
    pub async fn end_session_url(&self, account: &AccountKey) -> Option<Url> {
        let store = &self.0.source.store;
        store.load().await.ok()?;
        let mut entries = store.grants().into_iter();
        entries.find_map(|entry| {
            entry.with_grant(|grant| {
                let endpoint = grant.endpoints.end_session.as_ref()?;
                (grant.account.key == *account).then(|| logout(endpoint, grant))
            })
        })
    }

    /// Deletes the tokens of an account and revokes them at the authorization server, if it
    /// supports that (RFC 7009). Keeps the registration.
    ///
    /// # Errors
    ///
    /// [`SignOutError`]. After `NotRevoked` the tokens are deleted here all the same, and after
    /// `Vault` they are revoked all the same.
    pub async fn sign_out(&self, account: &AccountKey) -> Result<(), SignOutError> {
        let store = &self.0.source.store;
        store.load().await?;
        let is_theirs =
            |entry: &Arc<GrantEntry>| entry.with_grant(|grant| grant.account.key == *account);
        let mut entries = store.grants();
        entries.retain(is_theirs);
        if entries.is_empty() {
            return Err(SignOutError::Unknown);
        }
        let (mut forgotten, mut revoked) = (Ok(()), Ok(()));
        for entry in entries {
            forgotten = forgotten.and(store.forget(&entry).await);
            revoked = revoked.and(self.revoke(&entry).await);
        }
        forgotten?;
        revoked
    }

    async fn revoke(&self, entry: &GrantEntry) -> Result<(), SignOutError> {
        let grant = entry.grant();
        let Some(url) = &grant.endpoints.revocation else {
            return Ok(());
        };
        let http = self.0.source.clients.client_for(grant.endpoints.zone);
        form::revoke(http, url, &grant.client, &grant.tokens)
            .await
            .map_err(|reason| SignOutError::NotRevoked {
                issuer: grant.key.issuer.to_string(),
                reason,
            })
    }
}

fn logout(endpoint: &EndpointUrl, grant: &Grant) -> Url {
    let mut url = endpoint.url().clone();
    url.query_pairs_mut()
        .append_pair("client_id", &grant.client.id)
        .extend_pairs(
            grant
                .account
                .username
                .as_ref()
                .map(|who| ("logout_hint", who)),
        );
    url
}
