//! Client authentication with a signed JWT, a client assertion (RFC 7523 §2.2 and §3).
//!
//! Owns: the JWT, the choice of its signature algorithm, and reading key and certificate from PEM.
//! Does not own: reading files, the token request, and assertions that others sign. Time and the
//! random identifier are arguments.

mod certificate;
mod key;

use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use serde_json::json;

use key::SigningKey;

/// The `client_assertion_type` of a token request (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The lifetime of an assertion, in seconds.
const LIFETIME: u64 = 300;

/// Signs assertions.
pub struct Signer {
    key: SigningKey,
    algorithm: Algorithm,
    /// `x5t#S256`, by which Entra finds the certificate.
    thumbprint: Option<String>,
}

/// Why there is no [`Signer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The text contains no private key that can be used.
    #[error("the key is neither PEM RSA nor PKCS #8")]
    Key,
    /// The key is not of the kind that Entra accepts.
    #[error("Entra accepts RSA keys only")]
    NotRsa,
    /// The text contains no certificate.
    #[error("the certificate file contains no PEM certificate")]
    Certificate,
    /// The key fits none of the algorithms that the server accepts.
    #[error(
        "its authorization server accepts the signature algorithms {}, none of which fits the key",
        .0.join(", ")
    )]
    Algorithm(Vec<String>),
}

/// The key cannot sign, although it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's key cannot sign")]
pub struct CannotSign;

/// What an assertion says.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The client: `iss` and `sub`.
    pub client_id: &'a str,
    /// The token endpoint or the issuer: `aud`.
    pub audience: &'a str,
    /// A random identifier, unique for each assertion: `jti`.
    pub id: &'a str,
    /// The time now, in seconds since the epoch.
    pub now: u64,
}

impl Signer {
    /// Creates a signer for Entra: PS256, with the thumbprint of the certificate. Both texts are PEM.
    ///
    /// # Errors
    /// If the key or the certificate cannot be read, or the key is not RSA.
    pub fn for_entra(key: &str, certificate: &str) -> Result<Self, SignerError> {
        let key = SigningKey::from_pem(key).ok_or(SignerError::Key)?;
        if !key.algorithms.contains(&Algorithm::PS256) {
            return Err(SignerError::NotRsa);
        }
        let thumbprint = certificate::thumbprint(certificate).ok_or(SignerError::Certificate)?;
        Ok(Self {
            key,
            algorithm: Algorithm::PS256,
            thumbprint: Some(thumbprint),
        })
    }

    /// Creates a signer for another authorization server (`private_key_jwt`), whose metadata offers
    /// these signature algorithms. If it names none, signs with the one that every server supports.
    ///
    /// # Errors
    /// If the key, which is PEM, cannot be read or fits none of the algorithms.
    pub fn for_server(key: &str, offered: Option<&[String]>) -> Result<Self, SignerError> {
        let key = SigningKey::from_pem(key).ok_or(SignerError::Key)?;
        let algorithm = match offered {
            None => key.algorithms[0],
            Some(offered) => key
                .preferred(offered)
                .ok_or_else(|| SignerError::Algorithm(offered.to_vec()))?,
        };
        Ok(Self {
            key,
            algorithm,
            thumbprint: None,
        })
    }

    /// Returns a signed assertion. It is valid for five minutes.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn sign(&self, claims: &Claims<'_>) -> Result<SecretString, CannotSign> {
        let Claims {
            client_id,
            audience,
            id,
            now,
        } = *claims;
        let mut header = Header::new(self.algorithm);
        header.x5t_s256.clone_from(&self.thumbprint);
        let claims = json!({
            "aud": audience, "iss": client_id, "sub": client_id, "jti": id,
            "nbf": now, "iat": now, "exp": now + LIFETIME,
        });
        let assertion = jsonwebtoken::encode(&header, &claims, &self.key.key);
        assertion.map(SecretString::from).map_err(|_| CannotSign)
    }
}

#[cfg(test)]
mod tests;
