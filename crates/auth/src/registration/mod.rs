//! How this program is known to an authorization server.
//!
//! The order: a client id from the configuration, then what was registered before, then dynamic
//! registration (RFC 7591), then a clear error.

mod dynamic;

use model::Issuer;

pub(crate) use dynamic::{RegisterError, register};

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

/// Where a client id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOrigin {
    /// The configuration.
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

    /// Whether it can be made anew.
    pub(crate) fn is_registered(&self) -> bool {
        self.origin == ClientOrigin::Registered
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
