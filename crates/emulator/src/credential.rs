//! Credentials of a confidential client besides the secret: certificates and federated credentials.

use anyhow::Context as _;
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;

use crate::pem;

/// A certificate in an app registration. Its key must be RSA, as Entra requires.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    key: DecodingKey,
}

/// A federated credential: tokens of another issuer replace a secret.
///
/// The emulator can verify the issuers of its own tenants only. Their managed identities get such
/// tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    /// The tenant of the issuer `{base}/{tenant}/v2.0`.
    pub issuer: Uuid,
    /// The `sub` of the tokens, compared with case. For a managed identity, its object id.
    pub subject: String,
    /// The `aud` of the tokens: [`FederatedCredential::AUDIENCE`].
    pub audience: String,
}

impl FederatedCredential {
    /// The audience that Entra recommends.
    pub const AUDIENCE: &str = "api://AzureADTokenExchange";
}

impl Certificate {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// If the file contains no certificate, or the key is not RSA.
    pub fn from_pem(bytes: &[u8]) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_slice(bytes)
            .context("the file contains no PEM certificate; hint: use a certificate in PEM format")?
            .to_vec();
        let key = DecodingKey::from_rsa_pem(pem::encode("CERTIFICATE", &der).as_bytes()).context(
            "the certificate's key is not RSA; hint: create a certificate with an RSA key",
        )?;
        Ok(Self { der, key })
    }

    /// Returns the SHA-256 digest of the certificate, `x5t#S256` of assertions.
    pub(crate) fn sha256(&self) -> Vec<u8> {
        digest::digest(&SHA256, &self.der).as_ref().to_vec()
    }

    /// Returns the SHA-1 digest of the certificate, `x5t` of assertions.
    pub(crate) fn sha1(&self) -> Vec<u8> {
        digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der)
            .as_ref()
            .to_vec()
    }

    /// Returns whether `signature`, in base64url, is valid for `input`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, input: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }
}
