//! The client credentials grant (RFC 6749 section 4.4).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::{Issuer, Resource, SecretName};

/// `auth = { kind = "client-credentials", … }`: Postern gets tokens with its own credential, and no user
/// signs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Fields", into = "Fields")]
#[schemars(with = "Fields")]
pub struct ClientCredentials {
    /// The client ID at the authorization server.
    pub client_id: String,
    /// The credential for client authentication.
    pub proof: ClientCredential,
    /// The issuer of the tokens, and their resource.
    pub issuer: TokenIssuer,
    /// The scopes to request. If empty, the issuer's default.
    pub scopes: Vec<String>,
}

impl ClientCredentials {
    /// Returns the configured Entra authority, if any.
    #[must_use]
    pub fn authority(&self) -> Option<&Issuer> {
        match &self.issuer {
            TokenIssuer::Entra { authority, .. } => Some(authority),
            TokenIssuer::Discovered { .. } => None,
        }
    }

    /// Returns the configured resource, if any.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        match &self.issuer {
            TokenIssuer::Entra { resource, .. } => Some(resource),
            TokenIssuer::Discovered { resource } => resource.as_ref(),
        }
    }
}

/// A credential for client authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    /// The stored secret with this name.
    Secret(SecretName),
    /// A private key and the certificate that is registered for it, both in PEM.
    Certificate {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A file with a federated token. The program that writes the file also refreshes the token.
    TokenFile(PathBuf),
}

/// The issuer of tokens for client credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenIssuer {
    /// The authorization server that the server names.
    Discovered {
        /// The resource to request, if it differs from the server's own identifier.
        resource: Option<Resource>,
    },
    /// Microsoft Entra ID.
    Entra {
        /// The tenant's authority.
        authority: Issuer,
        /// The App ID URI of the server's registration.
        resource: Resource,
    },
}

/// The fields in the file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// The client ID at the authorization server.
    client_id: String,
    /// `https://login.microsoftonline.com/{tenant}/v2.0`, or its equivalent in another cloud. If absent,
    /// the authorization server that the server names.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<Issuer>,
    /// The App ID URI of the server's registration. Required with `authority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    /// The scopes to request. If absent with `authority`, `.default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    /// The credential: a secret that was stored with `postern secrets set`. Exactly one credential is
    /// required.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<SecretRef>,
    /// The credential: a certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateFiles>,
    /// The credential: a file with a federated token. The file is read for every use.
    #[serde(skip_serializing_if = "Option::is_none")]
    federated_token_file: Option<PathBuf>,
}

/// PEM files.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CertificateFiles {
    /// The certificate.
    cert: PathBuf,
    /// Its private key: RSA, or an elliptic curve in PKCS #8.
    key: PathBuf,
}

impl TryFrom<Fields> for ClientCredentials {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let proof = match (
            fields.client_secret,
            fields.certificate,
            fields.federated_token_file,
        ) {
            (Some(reference), None, None) => ClientCredential::Secret(reference.secret),
            (None, Some(CertificateFiles { cert, key }), None) => {
                ClientCredential::Certificate { cert, key }
            }
            (None, None, Some(path)) => ClientCredential::TokenFile(path),
            _ => {
                return Err(
                    "client-credentials requires exactly one credential; hint: set one of client_secret, certificate and federated_token_file",
                );
            }
        };
        let issuer = match (fields.authority, fields.resource) {
            (None, resource) => TokenIssuer::Discovered { resource },
            (Some(authority), Some(resource)) => TokenIssuer::Entra {
                authority,
                resource,
            },
            (Some(_), None) => {
                return Err(
                    "authority requires resource; hint: set resource to the App ID URI of the server's registration",
                );
            }
        };
        Ok(Self {
            client_id: fields.client_id,
            proof,
            issuer,
            scopes: fields.scopes,
        })
    }
}

impl From<ClientCredentials> for Fields {
    fn from(from: ClientCredentials) -> Self {
        let (authority, resource) = match from.issuer {
            TokenIssuer::Discovered { resource } => (None, resource),
            TokenIssuer::Entra {
                authority,
                resource,
            } => (Some(authority), Some(resource)),
        };
        let (client_secret, certificate, federated_token_file) = match from.proof {
            ClientCredential::Secret(secret) => (Some(SecretRef { secret }), None, None),
            ClientCredential::Certificate { cert, key } => {
                (None, Some(CertificateFiles { cert, key }), None)
            }
            ClientCredential::TokenFile(path) => (None, None, Some(path)),
        };
        Self {
            client_id: from.client_id,
            authority,
            resource,
            scopes: from.scopes,
            client_secret,
            certificate,
            federated_token_file,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{BridgeConfig, ServerAuth};

    fn read(auth: &str) -> Result<BridgeConfig, String> {
        let text = format!(
            "[servers.one]\nurl = 'https://mcp.example/mcp'\nauth = {{ kind = 'client-credentials', client_id = 'c', {auth} }}"
        );
        toml::from_str(&text).map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn client_credentials_require_exactly_one_credential() {
        for good in [
            "client_secret = { secret = 'crm' }",
            "certificate = { cert = '/c.pem', key = '/k.pem' }, scopes = ['a']",
            "federated_token_file = '/t', authority = 'https://login.example/t/v2.0', resource = 'api://a'",
        ] {
            let config = read(good).unwrap();
            let again: BridgeConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
            assert_eq!(again, config);
            let auth = &config.servers.values().next().unwrap().auth;
            assert!(matches!(auth, ServerAuth::ClientCredentials(_)));
        }
        for (bad, said) in [
            ("scopes = []", "exactly one credential"),
            (
                "client_secret = { secret = 'crm' }, federated_token_file = '/t'",
                "exactly one credential",
            ),
            (
                "federated_token_file = '/t', authority = 'https://login.example/t/v2.0'",
                "hint: set resource to the App ID URI",
            ),
            ("client_secret = 'hush'", "invalid type"),
            ("federated_token_file = '/t', typo = 1", "typo"),
        ] {
            let refused = read(bad).unwrap_err();
            assert!(refused.contains(said), "{bad}: {refused}");
        }
    }
}
