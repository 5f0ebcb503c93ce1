//! Client authentication for the client credentials grant (RFC 6749 §2.3, RFC 7521, RFC 7523).
//!
//! Invariant: secrets, keys and token files are read for each request and never cached.

use std::path::Path;

use client_assertion::{ASSERTION_TYPE, Claims, Signer};
use model::SecretName;
use model::config::{ClientCredential, ClientCredentials};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::state::{ClientCredentialsError, not_granted};
use crate::discovery::AuthorizationServer;
use crate::random;
use crate::registration::{Client, SecretMethod};
use crate::secret::{Assertion, ClientSecret};
use crate::token::source::Source;

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
                let claims = Claims {
                    client_id: &config.client_id,
                    audience,
                    id: &random::token(&mut random::fill),
                    now,
                };
                signed(&cert, &key, auth_method, &claims).map_err(|what| not_granted(&what))?
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
            not_granted(format!(
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

/// Signs an assertion with the algorithm that the server accepts. Both texts are PEM.
fn signed(
    cert: &str,
    key: &str,
    auth_method: &ClientAuthMethod,
    claims: &Claims<'_>,
) -> Result<Assertion, String> {
    let signer = match auth_method {
        ClientAuthMethod::Entra => Signer::for_entra(key, cert),
        ClientAuthMethod::Secret(_) => Signer::for_server(key, None),
        ClientAuthMethod::Assertion { algorithms } => {
            Signer::for_server(key, algorithms.as_deref())
        }
    };
    let signer = signer.map_err(|error| error.to_string())?;
    let assertion = signer.sign(claims).map_err(|error| error.to_string())?;
    Ok(Assertion::new(assertion.expose_secret()))
}

async fn read(path: &Path) -> Result<Zeroizing<String>, ClientCredentialsError> {
    let read = tokio::fs::read_to_string(path).await;
    read.map(Zeroizing::new)
        .map_err(|error| not_granted(format!("{} cannot be read: {error}", path.display())))
}
