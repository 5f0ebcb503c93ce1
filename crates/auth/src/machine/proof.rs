//! What proves that a program is its client (RFC 6749 section 2.3, RFC 7521, RFC 7523).
//!
//! Invariant: secrets, keys and token files are read for each request and kept for none.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use model::config::{ClientCredentials, MachineProof};
use serde_json::json;
use zeroize::Zeroizing;

use super::plan::{not_granted, unreadable};
use super::state::Failure;
use crate::discovery::AuthorizationServer;
use crate::random;
use crate::secret::{Assertion, StoredSecret};
use crate::token::source::Source;

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good, in seconds.
const LIFE: u64 = 300;

/// How the token endpoint takes a proof.
pub(super) enum Manner {
    /// As Entra does: a secret in the form; an assertion with the certificate's thumbprint.
    Entra,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt`, signed by one of these where the server says which.
    Assertion { algorithms: Option<Vec<String>> },
}

/// One proof, for one request.
pub(super) enum Proof {
    Basic(StoredSecret),
    Post(StoredSecret),
    Assertion(Assertion),
}

impl Manner {
    /// What the metadata says; RFC 8414 section 2 says `client_secret_basic` where it is silent.
    pub(super) fn of(server: &AuthorizationServer, proof: &MachineProof) -> Result<Self, String> {
        let offers = |method: &str| match &server.client_authentication {
            Some(offered) => offered.iter().any(|offer| offer == method),
            None => method != "client_secret_post",
        };
        match proof {
            MachineProof::Secret(_) if offers("client_secret_basic") => Ok(Self::Basic),
            MachineProof::Secret(_) if offers("client_secret_post") => Ok(Self::Post),
            MachineProof::Secret(_) => {
                Err("its authorization server takes no client secret".to_owned())
            }
            MachineProof::Certificate { .. } | MachineProof::TokenFile(_)
                if offers("private_key_jwt") =>
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
        match (&config.proof, manner) {
            (MachineProof::Secret(name), manner) => {
                let ledger = &source.ledger;
                ledger.load().await.map_err(|error| unreadable(&error))?;
                let secret = ledger.secret(name).ok_or_else(|| {
                    not_granted(&format!(
                        "there is no secret `{name}`: store it with `postern secrets set {name}`"
                    ))
                })?;
                Ok(match manner {
                    Manner::Basic => Self::Basic(secret),
                    Manner::Entra | Manner::Post | Manner::Assertion { .. } => Self::Post(secret),
                })
            }
            (MachineProof::TokenFile(path), _) => {
                let token = read(path).await?;
                Ok(Self::Assertion(Assertion::new(token.trim())))
            }
            (MachineProof::Certificate { cert, key }, manner) => {
                let (cert, key) = (read(cert).await?, read(key).await?);
                let signing =
                    Signing::of(&cert, &key, manner).map_err(|what| not_granted(&what))?;
                let assertion = signing.sign(&config.client_id, audience, now);
                assertion
                    .map(Self::Assertion)
                    .map_err(|what| not_granted(&what))
            }
        }
    }

    /// What goes into the form.
    pub(super) fn parameters<'a>(&'a self, client_id: &'a str) -> Vec<(&'static str, &'a str)> {
        match self {
            Self::Basic(_) => Vec::new(),
            Self::Post(secret) => {
                vec![("client_id", client_id), ("client_secret", secret.expose())]
            }
            Self::Assertion(assertion) => vec![
                ("client_id", client_id),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion.expose()),
            ],
        }
    }

    /// What goes into the header: form-encoded first (RFC 6749 section 2.3.1).
    pub(super) fn basic(&self, client_id: &str) -> Option<::http::HeaderValue> {
        let Self::Basic(secret) = self else {
            return None;
        };
        let encode =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
        let text = format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()));
        let mut value = ::http::HeaderValue::from_str(&text).expect("base64 fits a header");
        value.set_sensitive(true);
        Some(value)
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
            Manner::Basic | Manner::Post | Manner::Assertion { algorithms: None } => Ok(Self {
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
