//! The secrets that the user stored by name.

use ::http::HeaderValue;
use model::SecretName;
use model::config::is_header_value;

use super::Identity;
use crate::error::SecretError;
use crate::secret::StoredSecret;
use crate::vault::VaultError;

impl Identity {
    /// Returns a stored secret as a header value, marked sensitive, or `None` if there is no such
    /// secret.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if the vault cannot be read.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<HeaderValue>, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        let secret = store.secret(name);
        // Only header values are stored.
        Ok(secret.and_then(|secret| {
            let mut value = HeaderValue::from_str(secret.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        }))
    }

    /// Returns the names of all stored secrets, sorted.
    ///
    /// # Errors
    ///
    /// [`VaultError`], if the vault cannot be read.
    pub async fn secrets(&self) -> Result<Vec<SecretName>, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        Ok(store.secrets())
    }

    /// Stores a secret. Replaces one of the same name.
    ///
    /// # Errors
    ///
    /// [`SecretError`]. The previous secret is kept then.
    pub async fn keep_secret(&self, name: SecretName, value: &str) -> Result<(), SecretError> {
        if !is_header_value(value) {
            return Err(SecretError::Unfit);
        }
        let store = &self.0.source.store;
        store.open().await?;
        let secret = StoredSecret::new(value);
        Ok(store.keep_secret(name, secret).await?)
    }

    /// Deletes a stored secret. Returns true if it existed.
    ///
    /// # Errors
    ///
    /// [`VaultError`]. The secret is kept then.
    pub async fn forget_secret(&self, name: &SecretName) -> Result<bool, VaultError> {
        let store = &self.0.source.store;
        store.load().await?;
        store.forget_secret(name).await
    }
}
