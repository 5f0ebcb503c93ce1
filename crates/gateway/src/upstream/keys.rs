//! Entra's signing keys, by key id.
//!
//! A key that is not known is looked for at most every five minutes, so that made-up key ids
//! cause no traffic; keys that cannot be renewed stay good.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use model::EndpointUrl;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::error::UpstreamError;
use super::http::Http;
use crate::storage::Seconds;

const FRESH: Seconds = 24 * 60 * 60;
const BETWEEN_FETCHES: Seconds = 5 * 60;

/// A key, and the issuer it signs for if the set says.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) issuer: Option<String>,
}

#[derive(Default)]
pub(super) struct Keys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    keys: HashMap<String, Key>,
    fetched_at: Option<Seconds>,
    tried_at: Option<Seconds>,
}

#[derive(Deserialize)]
struct KeySet {
    /// One by one, so that a key of an unknown kind does not spoil the set.
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub(super) async fn find(
        &self,
        http: &Http,
        url: &EndpointUrl,
        id: &str,
        now: Seconds,
    ) -> Result<Key, UpstreamError> {
        let mut kept = self.0.lock().await;
        if kept.should_fetch(id, now) {
            kept.tried_at = Some(now);
            match http.json::<KeySet>(url.as_str()).await {
                Ok(set) => {
                    kept.keys = set.keys.into_iter().filter_map(read).collect();
                    kept.fetched_at = Some(now);
                }
                Err(error) if kept.fetched_at.is_none() => {
                    kept.tried_at = None;
                    return Err(error.into());
                }
                Err(error) => tracing::warn!(%error, "using older keys of the identity provider"),
            }
        }
        let unknown = UpstreamError::Untrusted("the id token is signed with an unknown key");
        kept.keys.get(id).cloned().ok_or(unknown)
    }
}

impl Kept {
    fn should_fetch(&self, id: &str, now: Seconds) -> bool {
        let old = self.fetched_at.is_none_or(|at| now >= at + FRESH);
        let rested = self.tried_at.is_none_or(|at| now >= at + BETWEEN_FETCHES);
        (old || !self.keys.contains_key(id)) && rested
    }
}

/// An RSA key for signatures with its id, or nothing.
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
