//! Entra's signing keys, by key id.
//!
//! An unknown key id causes a fetch at most every five minutes, so that invented key ids cause no
//! traffic. If the keys cannot be fetched again, the old ones stay valid.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use model::{Clock, EndpointUrl};
use serde::Deserialize;

use super::error::IdentityProviderError;
use super::fetched::{Fetched, New};
use super::http::Http;
use crate::storage::Seconds;

const FRESH: Seconds = 24 * 60 * 60;
const BETWEEN_FETCHES: Seconds = 5 * 60;

/// A key, and the issuer that it signs for, if the key set names one.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) issuer: Option<String>,
}

pub(super) struct Keys(Fetched<HashMap<String, Key>>);

#[derive(Deserialize)]
struct KeySet {
    /// Parsed one by one, so that a key of an unknown kind does not invalidate the set.
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self(Fetched::new("signing keys of the identity provider"))
    }

    /// Returns the key with this id.
    ///
    /// # Errors
    ///
    /// If the set at `url` does not have it, or cannot be fetched.
    pub(super) async fn find(
        &self,
        http: &Http,
        url: &EndpointUrl,
        id: &str,
        clock: &Clock,
    ) -> Result<Key, IdentityProviderError> {
        let fetch = || fetch(http.clone(), url.as_str().to_owned(), clock.clone());
        let keys = self.0.get(clock, fetch).await?;
        if let Some(key) = keys.get(id) {
            return Ok(key.clone());
        }
        let keys = self.0.newer(keys, BETWEEN_FETCHES, clock, fetch).await?;
        let unknown =
            IdentityProviderError::Untrusted("the id token is signed with an unknown key");
        keys.get(id).cloned().ok_or(unknown)
    }
}

async fn fetch(
    http: Http,
    url: String,
    clock: Clock,
) -> Result<New<HashMap<String, Key>>, IdentityProviderError> {
    let set: KeySet = http.json(&url).await?;
    Ok(New {
        value: set.keys.into_iter().filter_map(read).collect(),
        fresh_until: clock.unix() + FRESH,
        good_until: Seconds::MAX,
    })
}

/// Returns an RSA signing key with its id. Returns `None` for any other key.
fn read(value: serde_json::Value) -> Option<(String, Key)> {
    let issuer = value
        .get("issuer")
        .and_then(|issuer| issuer.as_str())
        .map(str::to_owned);
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let is_rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
    let key = DecodingKey::from_jwk(&jwk)
        .ok()
        .filter(|_| signs && is_rsa)?;
    Some((jwk.common.key_id?, Key { key, issuer }))
}
