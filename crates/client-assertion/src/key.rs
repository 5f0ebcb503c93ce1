//! Private keys, and the signature algorithms that they fit.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// A private key.
pub(crate) struct SigningKey {
    pub(crate) key: EncodingKey,
    /// What it can sign with, the preferred one last. The first is the one that every server
    /// supports, for servers that name none.
    pub(crate) algorithms: &'static [Algorithm],
}

impl SigningKey {
    /// Reads an RSA key in PEM, or a key in PKCS #8. Returns `None` if there is none.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.as_bytes();
        if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
            return Some(Self {
                key,
                algorithms: &[Algorithm::RS256, Algorithm::PS256],
            });
        }
        if let Ok(key) = EncodingKey::from_ec_pem(pem) {
            let algorithms = curve(&key);
            return Some(Self { key, algorithms });
        }
        let key = EncodingKey::from_ed_pem(pem).ok()?;
        Some(Self {
            key,
            algorithms: &[Algorithm::EdDSA],
        })
    }

    /// Returns the preferred algorithm among `offered`, by their names (RFC 7518 §3.1).
    pub(crate) fn preferred(&self, offered: &[String]) -> Option<Algorithm> {
        let is_offered = |algorithm: &&Algorithm| offered.contains(&format!("{algorithm:?}"));
        self.algorithms.iter().rev().find(is_offered).copied()
    }
}

/// Returns the algorithm of the key's curve. A key signs with this one only.
fn curve(key: &EncodingKey) -> &'static [Algorithm] {
    let header = Header::new(Algorithm::ES256);
    match jsonwebtoken::encode(&header, &json!({}), key) {
        Ok(_) => &[Algorithm::ES256],
        Err(_) => &[Algorithm::ES384],
    }
}
