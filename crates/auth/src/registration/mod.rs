//! How this program is known to an authorization server.
//!
//! The order: a client that was registered beforehand, then the client ID metadata document where
//! the server takes one, then what was registered before, then dynamic registration (RFC 7591),
//! then a clear error. What one authorization server issued is never shown to another.

mod dynamic;

use model::Issuer;
use model::config::ClientMetadataUrl;

pub(crate) use dynamic::{Purpose, RegisterError, register};

use crate::discovery::AuthorizationServer;
use crate::secret::ClientSecret;
use crate::vault::{RecordKind, RecordName};

/// A client id and how it is proved.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) proof: ClientProof,
    pub(crate) origin: ClientOrigin,
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub(crate) enum ClientProof {
    /// Not at all: a public client.
    None,
    /// `client_secret_basic`.
    Basic(ClientSecret),
    /// `client_secret_post`.
    Post(ClientSecret),
}

/// How a client proves itself by a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretMethod {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// Where a client id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOrigin {
    /// The configuration, be it by a metadata document.
    Configured,
    /// Dynamic registration: it can be made anew.
    Registered,
}

/// A dynamic registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) issuer: Issuer,
    pub(crate) client: Client,
    /// The port of the redirect URI that was registered. An authorization server should ignore
    /// it (RFC 8252 section 7.3); not all do.
    pub(crate) port: u16,
    /// When the secret ends, in seconds since 1970.
    pub(crate) expires_at: Option<u64>,
}

impl Client {
    /// A public client from the configuration.
    pub(crate) fn configured(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            proof: ClientProof::None,
            origin: ClientOrigin::Configured,
        }
    }

    /// A client from the configuration with a secret, which it proves as the server wants it.
    ///
    /// # Errors
    ///
    /// What the server wants, if that is neither of the two ways.
    pub(crate) fn confidential(
        id: &str,
        secret: ClientSecret,
        server: &AuthorizationServer,
    ) -> Result<Self, String> {
        let Some(method) = SecretMethod::of(server) else {
            let wanted = server.client_authentication.as_deref().unwrap_or_default();
            return Err(wanted.join(", "));
        };
        Ok(Self::with_secret(id, secret, method))
    }

    /// A client from the configuration with a secret that it proves by this method.
    pub(crate) fn with_secret(id: &str, secret: ClientSecret, method: SecretMethod) -> Self {
        Self {
            proof: match method {
                SecretMethod::Basic => ClientProof::Basic(secret),
                SecretMethod::Post => ClientProof::Post(secret),
            },
            ..Self::configured(id)
        }
    }

    /// The client that its metadata document describes.
    pub(crate) fn described_at(url: &ClientMetadataUrl) -> Self {
        Self::configured(url.as_str())
    }

    /// Whether it can be made anew.
    pub(crate) fn is_registered(&self) -> bool {
        self.origin == ClientOrigin::Registered
    }
}

impl SecretMethod {
    /// The one that the server wants, if it takes secrets.
    pub(crate) fn of(server: &AuthorizationServer) -> Option<Self> {
        let methods = [
            ("client_secret_basic", Self::Basic),
            ("client_secret_post", Self::Post),
        ];
        let offered = |(name, _): &(&str, Self)| server.offers_authentication(name);
        methods.into_iter().find(offered).map(|(_, method)| method)
    }
}

impl Registration {
    /// Where it lies in the vault.
    pub(crate) fn record(issuer: &Issuer) -> RecordName {
        RecordName::new(RecordKind::Registration, &[issuer.as_str()])
    }

    /// Whether its secret has ended.
    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}
