//! The client id of this application at an authorization server.
//!
//! The order: a preregistered client, the client ID metadata document if the server supports that,
//! a stored registration, dynamic registration (RFC 7591), and last an error. What one
//! authorization server issued is never sent to another.

mod dynamic;

use model::Issuer;
use model::config::ClientMetadataUrl;

pub(crate) use dynamic::{DEVICE_CODE, Purpose, RegisterError, register};

use crate::discovery::AuthorizationServer;
use crate::secret::ClientSecret;
use crate::vault::{RecordKind, RecordName};

/// A client id and its client authentication.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) auth: TokenEndpointAuth,
    pub(crate) origin: ClientOrigin,
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Debug)]
pub(crate) enum TokenEndpointAuth {
    /// A public client does not authenticate.
    None,
    /// `client_secret_basic`.
    Basic(ClientSecret),
    /// `client_secret_post`.
    Post(ClientSecret),
}

/// How a client sends its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretMethod {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// The origin of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOrigin {
    /// The configuration, or a metadata document.
    Configured,
    /// Dynamic registration, which can be repeated.
    Registered,
}

/// A dynamic registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) issuer: Issuer,
    pub(crate) client: Client,
    /// The port of the registered redirect URI. An authorization server should ignore it (RFC 8252
    /// §7.3), but not all do.
    pub(crate) port: u16,
    /// When the secret expires, in seconds since 1970.
    pub(crate) expires_at: Option<u64>,
}

impl Client {
    /// Creates a public client from the configuration.
    pub(crate) fn configured(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            auth: TokenEndpointAuth::None,
            origin: ClientOrigin::Configured,
        }
    }

    /// Creates a client with a secret from the configuration. The server determines how it sends
    /// the secret.
    ///
    /// # Errors
    ///
    /// The methods of the server, if it takes no secret.
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

    /// Creates a client from the configuration that sends its secret by this method.
    pub(crate) fn with_secret(id: &str, secret: ClientSecret, method: SecretMethod) -> Self {
        Self {
            auth: match method {
                SecretMethod::Basic => TokenEndpointAuth::Basic(secret),
                SecretMethod::Post => TokenEndpointAuth::Post(secret),
            },
            ..Self::configured(id)
        }
    }

    /// Creates the client of a metadata document.
    pub(crate) fn from_metadata_document(url: &ClientMetadataUrl) -> Self {
        Self::configured(url.as_str())
    }

    /// Returns true if the client can be registered again.
    pub(crate) fn is_registered(&self) -> bool {
        self.origin == ClientOrigin::Registered
    }
}

impl SecretMethod {
    /// Returns the method that the server prefers, or `None` if it takes no secrets.
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
    /// Returns the name of its record in the vault.
    pub(crate) fn record(issuer: &Issuer) -> RecordName {
        RecordName::new(RecordKind::Registration, &[issuer.as_str()])
    }

    /// Returns true if its secret has expired.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}
