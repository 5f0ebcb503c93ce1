//! The keys that sign tokens, and their rollover: a key is published first, signs later, and is
//! dropped at last; in an emergency all of that happens at once.
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

/// How many keys are published at least.
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
    /// Signs a JWS signing input with RS256; the signature as base64url.
    pub(crate) fn sign(&self, input: &str) -> anyhow::Result<String> {
        Ok(jsonwebtoken::crypto::sign(
            input.as_bytes(),
            &self.private,
            Algorithm::RS256,
        )?)
    }

    /// Whether `signature` is this key's over `input`.
    pub(crate) fn verifies(&self, input: &str, signature: &str) -> bool {
        DecodingKey::from_rsa_components(&self.n, &self.e)
            .and_then(|key| {
                jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::RS256)
            })
            .unwrap_or(false)
    }

    /// Makes one. RSA keys take their time: call it where blocking is allowed.
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

/// Why a rollover does not happen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RolloverError {
    #[error("no key has the id {0:?}; hint: the state lists the keys")]
    Unknown(String),
    #[error("a tenant publishes at least {MIN_KEYS} keys; hint: add one first")]
    TooFew,
}

/// The published keys; the first one signs.
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

    /// Lets the key `kid` sign from now on.
    pub(super) fn activate(&mut self, kid: &str) -> Result<(), RolloverError> {
        let position = self.position(kid)?;
        let key = self.0.remove(position);
        self.0.insert(0, key);
        Ok(())
    }

    /// Publishes the key `kid` no longer: what it signed is worth nothing. If it was the one that
    /// signs, the next one does.
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
    let refused = |_| anyhow::anyhow!("no RSA key could be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(refused)?;
    let der = pair.as_der().map_err(refused)?;
    let der: &Pkcs8V1Der<'_> = &der;
    Ok(pem::encode("PRIVATE KEY", der.as_ref()))
}
