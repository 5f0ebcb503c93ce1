//! What a confidential client proves itself with, besides a secret: certificates and federated
//! credentials, as an app registration holds them.

use anyhow::Context as _;
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;

use crate::pem;

/// A certificate that was uploaded to a registration: of an RSA key, as Entra takes no other.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    key: DecodingKey,
}

/// Trust in tokens of another issuer, in place of a secret.
///
/// The issuers that the emulator can verify are its own tenants; their managed identities are
/// what gets such tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    /// The tenant whose issuer it is, `{base}/{tenant}/v2.0`.
    pub issuer: Uuid,
    /// The `sub` of the tokens: of a managed identity, its object id. Compared with its case.
    pub subject: String,
    /// Whom the tokens are for: [`FederatedCredential::AUDIENCE`].
    pub audience: String,
}

impl FederatedCredential {
    /// The audience that Entra recommends.
    pub const AUDIENCE: &str = "api://AzureADTokenExchange";
}

impl Certificate {
    /// Reads the first certificate in a PEM file.
    ///
    /// # Errors
    /// If there is none, or its key is not RSA.
    pub fn from_pem(bytes: &[u8]) -> anyhow::Result<Self> {
        let der = CertificateDer::from_pem_slice(bytes)
            .context("there is no certificate; hint: give a file in PEM")?
            .to_vec();
        let key = DecodingKey::from_rsa_pem(pem::encode("CERTIFICATE", &der).as_bytes())
            .context("the certificate's key is not RSA; hint: make one with an RSA key")?;
        Ok(Self { der, key })
    }

    /// The SHA-256 of the certificate, `x5t#S256` of assertions.
    pub(crate) fn sha256(&self) -> Vec<u8> {
        digest::digest(&SHA256, &self.der).as_ref().to_vec()
    }

    /// The SHA-1 of the certificate, `x5t` of assertions.
    pub(crate) fn sha1(&self) -> Vec<u8> {
        digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der)
            .as_ref()
            .to_vec()
    }

    /// Whether `signature`, in base64url, is its key's over `input`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, input: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, input.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }
}
