//! Client authentication for the client credentials grant (RFC 6749 §2.3, RFC 7521, RFC 7523).
//!
//! Invariant: secrets, keys and token files are read for each request and never cached.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::SecretName;
use model::config::{ClientCredential, ClientCredentials};
use serde_json::json;
use zeroize::Zeroizing;

use super::state::{ClientCredentialsError, not_granted};
use crate::discovery::AuthorizationServer;
use crate::random;
use crate::registration::{Client, SecretMethod};
use crate::secret::{Assertion, ClientSecret};
use crate::token::source::Source;

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The lifetime of an assertion, in seconds.
const ASSERTION_LIFETIME: u64 = 300;

/// The client authentication method of the token endpoint.
pub(super) enum ClientAuthMethod {
    /// Entra's: a secret in the form, or an assertion with the certificate's thumbprint.
    Entra,
    /// A secret.
    Secret(SecretMethod),
    /// `private_key_jwt`, signed with one of these algorithms if the server names any.
    Assertion { algorithms: Option<Vec<String>> },
}

/// The client authentication of one request.
pub(super) struct ClientAuthentication {
    /// The client, with its secret if it has one.
    pub(super) client: Client,
    assertion: Option<Assertion>,
}

impl ClientAuthMethod {
    /// Chooses the method by the metadata. If the metadata names none, tries assertions.
    pub(super) fn choose(
        server: &AuthorizationServer,
        credential: &ClientCredential,
    ) -> Result<Self, String> {
        match credential {
            ClientCredential::Secret(_) => SecretMethod::of(server)
                .map(Self::Secret)
                .ok_or_else(|| "its authorization server accepts no client secret".to_owned()),
            ClientCredential::Certificate { .. } | ClientCredential::TokenFile(_)
                if server.client_authentication.is_none()
                    || server.offers_authentication("private_key_jwt") =>
            {
                Ok(Self::Assertion {
                    algorithms: server.signing_algorithms.clone(),
                })
            }
            ClientCredential::Certificate { .. } | ClientCredential::TokenFile(_) => Err(
                "its authorization server accepts no signed assertion (private_key_jwt)".to_owned(),
            ),
        }
    }
}

impl ClientAuthentication {
    /// Reads the secret or token, or signs an assertion for `audience`.
    pub(super) async fn new(
        source: &Source,
        config: &ClientCredentials,
        auth_method: &ClientAuthMethod,
        audience: &str,
        now: u64,
    ) -> Result<Self, ClientCredentialsError> {
        let assertion = match &config.proof {
            ClientCredential::Secret(name) => {
                return Self::with_secret(source, config, name, auth_method).await;
            }
            ClientCredential::TokenFile(path) => Assertion::new(read(path).await?.trim()),
            ClientCredential::Certificate { cert, key } => {
                let (cert, key) = (read(cert).await?, read(key).await?);
                Signer::new(&cert, &key, auth_method)
                    .and_then(|signer| signer.sign(&config.client_id, audience, now))
                    .map_err(|what| not_granted(&what))?
            }
        };
        Ok(Self {
            client: Client::configured(&config.client_id),
            assertion: Some(assertion),
        })
    }

    async fn with_secret(
        source: &Source,
        config: &ClientCredentials,
        name: &SecretName,
        auth_method: &ClientAuthMethod,
    ) -> Result<Self, ClientCredentialsError> {
        let store = &source.store;
        store.load().await.map_err(ClientCredentialsError::Vault)?;
        let secret = store.secret(name).ok_or_else(|| {
            not_granted(&format!(
                "there is no secret `{name}`: store it with `postern secrets set {name}`"
            ))
        })?;
        let method = match auth_method {
            ClientAuthMethod::Secret(method) => *method,
            ClientAuthMethod::Entra | ClientAuthMethod::Assertion { .. } => SecretMethod::Post,
        };
        let secret = ClientSecret::new(secret.expose());
        Ok(Self {
            client: Client::with_secret(&config.client_id, secret, method),
            assertion: None,
        })
    }

    /// Returns the form parameters besides the client's.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &str)> {
        let Some(assertion) = &self.assertion else {
            return Vec::new();
        };
        vec![
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.expose()),
        ]
    }
}

/// Signs assertions.
struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    /// `x5t#S256`, by which Entra finds the certificate.
    thumbprint: Option<String>,
}

impl Signer {
    fn new(cert: &str, key: &str, auth_method: &ClientAuthMethod) -> Result<Self, String> {
        let thumbprint = || {
            let der = der(cert).ok_or("the certificate file contains no PEM certificate")?;
            let digest = digest(&SHA256, &der);
            Ok::<_, String>(BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref()))
        };
        let (key, algorithms) = encoding_key(key.as_bytes())?;
        match auth_method {
            ClientAuthMethod::Entra if algorithms.contains(&Algorithm::PS256) => Ok(Self {
                key,
                algorithm: Algorithm::PS256,
                thumbprint: Some(thumbprint()?),
            }),
            ClientAuthMethod::Entra => Err("Entra accepts RSA keys only".to_owned()),
            ClientAuthMethod::Secret(_) | ClientAuthMethod::Assertion { algorithms: None } => {
                Ok(Self {
                    key,
                    algorithm: algorithms[0],
                    thumbprint: None,
                })
            }
            ClientAuthMethod::Assertion {
                algorithms: Some(offered),
            } => {
                let is_offered = |algorithm: &&Algorithm| {
                    let name = format!("{algorithm:?}");
                    offered.contains(&name)
                };
                let algorithm = algorithms.iter().rev().find(is_offered).copied();
                Ok(Self {
                    key,
                    algorithm: algorithm.ok_or_else(|| {
                        format!(
                            "its authorization server accepts the signature algorithms {}, none of which fits the key",
                            offered.join(", ")
                        )
                    })?,
                    thumbprint: None,
                })
            }
        }
    }

    fn sign(&self, client_id: &str, audience: &str, now: u64) -> Result<Assertion, String> {
        let mut header = Header::new(self.algorithm);
        header.x5t_s256.clone_from(&self.thumbprint);
        let claims = json!({
            "aud": audience, "iss": client_id, "sub": client_id,
            "jti": random::token(&mut random::fill),
            "nbf": now, "iat": now, "exp": now + ASSERTION_LIFETIME,
        });
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map(Assertion::new)
            .map_err(|_| "the certificate's key cannot sign".to_owned())
    }
}

/// Parses the key. Returns it with its algorithms, the preferred one last. The first is the one
/// that every server supports, for servers that name none.
fn encoding_key(pem: &[u8]) -> Result<(EncodingKey, &'static [Algorithm]), String> {
    if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
        return Ok((key, &[Algorithm::RS256, Algorithm::PS256]));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        // A key signs with the algorithm of its curve only.
        let signs = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &json!({}), &key).is_ok();
        return Ok((
            key,
            if signs {
                &[Algorithm::ES256]
            } else {
                &[Algorithm::ES384]
            },
        ));
    }
    match EncodingKey::from_ed_pem(pem) {
        Ok(key) => Ok((key, &[Algorithm::EdDSA])),
        Err(_) => Err("the key is neither PEM RSA nor PKCS #8".to_owned()),
    }
}

async fn read(path: &Path) -> Result<Zeroizing<String>, ClientCredentialsError> {
    let read = tokio::fs::read_to_string(path).await;
    read.map(Zeroizing::new)
        .map_err(|error| not_granted(&format!("{} cannot be read: {error}", path.display())))
}

/// Returns the bytes of the first certificate in a PEM text.
fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}
