//! What proves that a program is its client (RFC 6749 section 2.3, RFC 7521, RFC 7523).
//!
//! Invariant: secrets, keys and token files are read for each request and kept for none.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::SecretName;
use model::config::{ClientCredentials, MachineProof};
use serde_json::json;
use zeroize::Zeroizing;

use super::plan::not_granted;
use super::state::Failure;
use crate::discovery::AuthorizationServer;
use crate::random;
use crate::registration::{Client, SecretMethod};
use crate::secret::{Assertion, ClientSecret};
use crate::token::source::Source;

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good, in seconds.
const LIFE: u64 = 300;

/// How the token endpoint takes a proof.
pub(super) enum Manner {
    /// As Entra does: a secret in the form; an assertion with the certificate's thumbprint.
    Entra,
    /// A secret.
    Secret(SecretMethod),
    /// `private_key_jwt`, signed by one of these where the server says which.
    Assertion { algorithms: Option<Vec<String>> },
}

/// One proof, for one request.
pub(super) struct Proof {
    /// The client, with its secret if that is what proves it.
    pub(super) client: Client,
    assertion: Option<Assertion>,
}

impl Manner {
    /// What the metadata says. Where it is silent, assertions are tried.
    pub(super) fn of(server: &AuthorizationServer, proof: &MachineProof) -> Result<Self, String> {
        match proof {
            MachineProof::Secret(_) => SecretMethod::of(server)
                .map(Self::Secret)
                .ok_or_else(|| "its authorization server takes no client secret".to_owned()),
            MachineProof::Certificate { .. } | MachineProof::TokenFile(_)
                if server.client_authentication.is_none()
                    || server.offers_authentication("private_key_jwt") =>
            {
                Ok(Self::Assertion {
                    algorithms: server.signing_algorithms.clone(),
                })
            }
            MachineProof::Certificate { .. } | MachineProof::TokenFile(_) => Err(
                "its authorization server takes no signed assertion (private_key_jwt)".to_owned(),
            ),
        }
    }
}

impl Proof {
    /// Looks the proof up, or makes it, for `audience`.
    pub(super) async fn of(
        source: &Source,
        config: &ClientCredentials,
        manner: &Manner,
        audience: &str,
        now: u64,
    ) -> Result<Self, Failure> {
        let assertion = match &config.proof {
            MachineProof::Secret(name) => {
                return Self::by_secret(source, config, name, manner).await;
            }
            MachineProof::TokenFile(path) => Assertion::new(read(path).await?.trim()),
            MachineProof::Certificate { cert, key } => {
                let (cert, key) = (read(cert).await?, read(key).await?);
                Signing::of(&cert, &key, manner)
                    .and_then(|signing| signing.sign(&config.client_id, audience, now))
                    .map_err(|what| not_granted(&what))?
            }
        };
        Ok(Self {
            client: Client::configured(&config.client_id),
            assertion: Some(assertion),
        })
    }

    async fn by_secret(
        source: &Source,
        config: &ClientCredentials,
        name: &SecretName,
        manner: &Manner,
    ) -> Result<Self, Failure> {
        let ledger = &source.ledger;
        ledger.load().await.map_err(Failure::Vault)?;
        let secret = ledger.secret(name).ok_or_else(|| {
            not_granted(&format!(
                "there is no secret `{name}`: store it with `postern secrets set {name}`"
            ))
        })?;
        let method = match manner {
            Manner::Secret(method) => *method,
            Manner::Entra | Manner::Assertion { .. } => SecretMethod::Post,
        };
        let secret = ClientSecret::new(secret.expose());
        Ok(Self {
            client: Client::with_secret(&config.client_id, secret, method),
            assertion: None,
        })
    }

    /// What goes into the form beside the client.
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

/// What signs.
struct Signing {
    key: EncodingKey,
    algorithm: Algorithm,
    /// `x5t#S256`, which Entra finds the certificate by.
    thumbprint: Option<String>,
}

impl Signing {
    fn of(cert: &str, key: &str, manner: &Manner) -> Result<Self, String> {
        let thumbprint = || {
            let der = der(cert).ok_or("the certificate is none in PEM")?;
            let digest = digest(&SHA256, &der);
            Ok::<_, String>(BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref()))
        };
        let (key, fitting) = encoding_key(key.as_bytes())?;
        match manner {
            Manner::Entra if fitting.contains(&Algorithm::PS256) => Ok(Self {
                key,
                algorithm: Algorithm::PS256,
                thumbprint: Some(thumbprint()?),
            }),
            Manner::Entra => Err("Entra takes RSA keys alone".to_owned()),
            Manner::Secret(_) | Manner::Assertion { algorithms: None } => Ok(Self {
                key,
                algorithm: fitting[0],
                thumbprint: None,
            }),
            Manner::Assertion {
                algorithms: Some(offered),
            } => {
                let is_offered = |algorithm: &&Algorithm| {
                    let name = format!("{algorithm:?}");
                    offered.contains(&name)
                };
                let algorithm = fitting.iter().rev().find(is_offered).copied();
                Ok(Self {
                    key,
                    algorithm: algorithm.ok_or_else(|| {
                        format!(
                            "its authorization server takes signatures by {}, which the key cannot make",
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
            "nbf": now, "iat": now, "exp": now + LIFE,
        });
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map(Assertion::new)
            .map_err(|_| "the certificate's key cannot sign".to_owned())
    }
}

/// The key, and what it can sign by, best first. What every server knows comes before what is
/// better, for those that do not say.
fn encoding_key(pem: &[u8]) -> Result<(EncodingKey, &'static [Algorithm]), String> {
    if let Ok(key) = EncodingKey::from_rsa_pem(pem) {
        return Ok((key, &[Algorithm::RS256, Algorithm::PS256]));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(pem) {
        // A curve is known by what it can sign by.
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
        Err(_) => Err("the key is no RSA key in PEM, and no other one in PKCS #8".to_owned()),
    }
}

async fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = tokio::fs::read_to_string(path).await;
    read.map(Zeroizing::new)
        .map_err(|error| not_granted(&format!("{} cannot be read: {error}", path.display())))
}

/// The bytes of the first certificate of a PEM text.
fn der(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}
