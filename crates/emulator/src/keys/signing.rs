//! The signing keys and their rollover: a key is published, later signs, and is dropped in the end.
//! An emergency rollover does all of this at once.
//!
//! Invariant: the first key signs, and there are always at least two.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use secrecy::{ExposeSecret as _, SecretString};

use crate::pem;
use crate::random;

/// The minimum number of published keys.
const MIN_KEYS: usize = 2;

/// A key that signs tokens.
pub(crate) struct SigningKey {
    /// The key id, `kid` in tokens.
    pub(crate) kid: String,
    /// The modulus, base64url.
    pub(crate) n: String,
    /// The exponent, base64url.
    pub(crate) e: String,
    private: EncodingKey,
    /// PKCS#8 in PEM, for the key file.
    pem: SecretString,
}

impl SigningKey {
    /// Signs a JWS signing input with RS256. Returns the signature in base64url.
    pub(crate) fn sign(&self, input: &str) -> anyhow::Result<String> {
        Ok(jsonwebtoken::crypto::sign(
            input.as_bytes(),
            &self.private,
            Algorithm::RS256,
        )?)
    }

    /// Returns whether `signature` is valid for `input` with this key.
    pub(crate) fn verifies(&self, input: &str, signature: &str) -> bool {
        DecodingKey::from_rsa_components(&self.n, &self.e)
            .and_then(|key| {
                jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::RS256)
            })
            .unwrap_or(false)
    }

    /// Generates a key. Blocks, because generating RSA keys is slow.
    pub(super) fn generate() -> anyhow::Result<Self> {
        Self::from_pem(&rsa_pem()?)
    }

    pub(super) fn pem(&self) -> &str {
        self.pem.expose_secret()
    }

    pub(super) fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let private = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let public = Jwk::from_encoding_key(&private, Algorithm::RS256)?;
        let AlgorithmParameters::RSA(public) = public.algorithm else {
            anyhow::bail!("not an RSA key");
        };
        let mut kid = random::sha256(format!("{}.{}", public.n, public.e));
        kid.truncate(27);
        Ok(Self {
            kid,
            n: public.n,
            e: public.e,
            private,
            pem: SecretString::from(pem),
        })
    }
}

/// Why a rollover failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RolloverError {
    #[error("no key has the id {0:?}; hint: use one of the keys in the state")]
    Unknown(String),
    #[error("a tenant publishes at least {MIN_KEYS} keys; hint: add one first")]
    TooFew,
}

/// The published keys. The first one signs.
#[derive(Clone)]
pub(crate) struct KeyRing(Vec<Arc<SigningKey>>);

impl KeyRing {
    pub(super) fn new(keys: Vec<SigningKey>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            keys.len() >= MIN_KEYS,
            "a tenant has at least two signing keys"
        );
        Ok(Self(keys.into_iter().map(Arc::new).collect()))
    }

    pub(super) fn generate() -> anyhow::Result<Self> {
        Self::new(vec![SigningKey::generate()?, SigningKey::generate()?])
    }

    pub(super) fn keys(&self) -> &[Arc<SigningKey>] {
        &self.0
    }

    pub(super) fn active(&self) -> &Arc<SigningKey> {
        &self.0[0]
    }

    /// Publishes another key, which does not sign yet.
    pub(super) fn add(&mut self, key: SigningKey) {
        self.0.push(Arc::new(key));
    }

    /// Makes the key `kid` the one that signs.
    pub(super) fn activate(&mut self, kid: &str) -> Result<(), RolloverError> {
        let position = self.position(kid)?;
        let key = self.0.remove(position);
        self.0.insert(0, key);
        Ok(())
    }

    /// Stops publishing the key `kid`, which invalidates its signatures. If it was the signing key,
    /// the next one signs.
    pub(super) fn drop_key(&mut self, kid: &str) -> Result<(), RolloverError> {
        let position = self.position(kid)?;
        if self.0.len() == MIN_KEYS {
            return Err(RolloverError::TooFew);
        }
        self.0.remove(position);
        Ok(())
    }

    fn position(&self, kid: &str) -> Result<usize, RolloverError> {
        self.0
            .iter()
            .position(|key| key.kid == kid)
            .ok_or_else(|| RolloverError::Unknown(kid.to_owned()))
    }
}

fn rsa_pem() -> anyhow::Result<String> {
    let failed = |_| anyhow::anyhow!("cannot generate an RSA key");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der = pair.as_der().map_err(failed)?;
    let der: &Pkcs8V1Der<'_> = &der;
    Ok(pem::encode("PRIVATE KEY", der.as_ref()))
}
