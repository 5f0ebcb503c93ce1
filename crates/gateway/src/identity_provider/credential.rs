//! How the gateway authenticates to Entra: by a secret, a certificate or the token of a federated
//! credential.

use std::path::PathBuf;

use client_assertion::{ASSERTION_TYPE, Claims, Signer, SignerError};
use model::Clock;
use model::config::gateway::{CertificateConfig, EntraConfig, ManagedIdentityConfig};
use oauth2::ClientId;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::IdentityProviderError;
use super::fetched::{Fetched, New};
use super::http::Http;
use crate::crypto;
use crate::secrets::Secrets;
use crate::storage::Seconds;

/// How long before its expiry a token of a managed identity is refreshed.
const EARLY: Seconds = 5 * 60;
/// How long before its expiry it is no longer used.
const LATEST: Seconds = 30;

pub(super) enum Credential {
    /// A public client.
    None,
    Secret(SecretString),
    Certificate(Signer),
    /// A file with a token of a federated credential.
    TokenFile(PathBuf),
    ManagedIdentity {
        url: url::Url,
        header: (&'static str, SecretString),
        /// For the endpoint on the machine's own link, which no proxy reaches.
        direct: Http,
        token: Fetched<SecretString>,
    },
}

/// The parameters of the client authentication. Empty for a secret, which is sent separately.
pub(super) struct Proof(Vec<(&'static str, SecretString)>);

impl Proof {
    pub(super) fn parameters(&self) -> &[(&'static str, SecretString)] {
        &self.0
    }
}

impl Credential {
    pub(super) fn new(config: &EntraConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        if let Some(secret) = &config.client_secret {
            return Ok(Self::Secret(secrets.fill(secret)?));
        }
        if let Some(certificate) = &config.certificate {
            return Self::certificate(certificate, secrets);
        }
        if let Some(path) = &config.federated_token_file {
            return Ok(Self::TokenFile(secrets.path(path)));
        }
        if let Some(identity) = &config.managed_identity {
            return Self::managed_identity(identity, secrets);
        }
        Ok(Self::None)
    }

    fn certificate(config: &CertificateConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        let key = secrets.fill(&config.private_key)?;
        let certificate = secrets.fill(&config.certificate)?;
        let signer = Signer::for_entra(key.expose_secret(), certificate.expose_secret());
        let signer = signer.map_err(|error| match error {
            SignerError::Key | SignerError::NotRsa | SignerError::Algorithm(_) => {
                anyhow::anyhow!("entra.certificate.private_key is not an RSA key in PEM")
            }
            SignerError::Certificate => {
                anyhow::anyhow!("entra.certificate.certificate is not a certificate in PEM")
            }
        })?;
        Ok(Self::Certificate(signer))
    }

    fn managed_identity(config: &ManagedIdentityConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        let mut url = url::Url::parse(&config.endpoint)?;
        let header = config
            .header
            .as_ref()
            .map(|text| secrets.fill(text))
            .transpose()?;
        let version = if header.is_some() {
            "2019-08-01"
        } else {
            "2018-02-01"
        };
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", &config.audience)
            .append_pair("client_id", &config.client_id);
        let header = header.map_or_else(
            || ("Metadata", SecretString::from("true")),
            |value| ("X-IDENTITY-HEADER", value),
        );
        let direct = Http::new(true)?;
        Ok(Self::ManagedIdentity {
            url,
            header,
            direct,
            token: Fetched::new("token of the managed identity"),
        })
    }

    pub(super) fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::None
            | Self::Certificate(_)
            | Self::TokenFile(_)
            | Self::ManagedIdentity { .. } => None,
        }
    }

    /// Creates or fetches the client authentication for a request to the token endpoint `audience`.
    pub(super) async fn prove(
        &self,
        client: &ClientId,
        audience: &str,
        clock: &Clock,
    ) -> Result<Proof, IdentityProviderError> {
        let assertion = match self {
            Self::None | Self::Secret(_) => return Ok(Proof(Vec::new())),
            Self::Certificate(signer) => {
                let claims = Claims {
                    client_id: client.as_str(),
                    audience,
                    id: &crypto::id(),
                    now: clock.unix(),
                };
                sign(signer, &claims)?
            }
            Self::TokenFile(path) => read(path).await?,
            Self::ManagedIdentity {
                url,
                header,
                direct,
                token,
            } => {
                let fetch = || fetch(direct.clone(), url.clone(), header.clone());
                SecretString::clone(&*token.get(clock, fetch).await?)
            }
        };
        Ok(Proof(vec![
            ("client_assertion_type", ASSERTION_TYPE.into()),
            ("client_assertion", assertion),
        ]))
    }
}

fn sign(signer: &Signer, claims: &Claims<'_>) -> Result<SecretString, IdentityProviderError> {
    let assertion = signer.sign(claims);
    assertion.map_err(|error| IdentityProviderError::Misconfigured(error.to_string()))
}

async fn read(path: &std::path::Path) -> Result<SecretString, IdentityProviderError> {
    match tokio::fs::read_to_string(path).await {
        Ok(token) => Ok(token.trim().into()),
        Err(error) => Err(IdentityProviderError::Misconfigured(format!(
            "the federated token file {} cannot be read: {error}",
            path.display()
        ))),
    }
}

/// Fetches a token. If the endpoint names no expiry, only the callers that wait for it use it.
async fn fetch(
    http: Http,
    url: url::Url,
    (name, value): (&'static str, SecretString),
) -> Result<New<SecretString>, IdentityProviderError> {
    let answer = http.json_with(url, (name, value.expose_secret())).await?;
    let token = answer.get("access_token").and_then(|token| token.as_str());
    let token = token.ok_or_else(|| {
        IdentityProviderError::Misconfigured(
            "the managed identity's endpoint gave no token".to_owned(),
        )
    })?;
    // A number, or a number as text, depending on the endpoint.
    let expires_on = answer.get("expires_on").and_then(|time| match time {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    });
    let end: Seconds = expires_on.unwrap_or_default();
    Ok(New {
        value: token.into(),
        fresh_until: end.saturating_sub(EARLY),
        good_until: end.saturating_sub(LATEST),
    })
}
