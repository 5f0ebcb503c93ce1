//! The servers to sign in to, the authorization of their requests, and this client's metadata.

mod key;

use std::net::SocketAddr;

use ::http::HeaderValue;
use model::EndpointUrl;
use model::config::{ClientMetadataUrl, ServerAuth};

pub(crate) use self::key::TargetKey;
use crate::account::AccountKey;

/// The configuration of one server, with the key that finds its grant. The key is long and every
/// message needs it, so a target is made once per server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: EndpointUrl,
    auth: ServerAuth,
    key: TargetKey,
}

impl Target {
    /// Creates the target of the server at `url`.
    #[must_use]
    pub fn new(url: EndpointUrl, auth: ServerAuth) -> Self {
        let key = TargetKey::new(&url, &auth);
        Self { url, auth, key }
    }

    /// Returns the server's URL.
    #[must_use]
    pub fn url(&self) -> &EndpointUrl {
        &self.url
    }

    /// Returns how to sign in to the server.
    #[must_use]
    pub fn auth(&self) -> &ServerAuth {
        &self.auth
    }

    /// Returns the key that finds the grant of the server.
    pub(crate) fn key(&self) -> &TargetKey {
        &self.key
    }
}

/// The credentials for a request.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The value of the `Authorization` header, `Bearer …`, marked sensitive.
    pub header: HeaderValue,
    /// The account of the token.
    pub account: AccountKey,
    pub(crate) serial: u64,
}

/// The number of an access token. A token that this process got later has a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenNumber(pub(crate) u64);

impl Authorization {
    /// Returns the number of the token.
    #[must_use]
    pub fn number(&self) -> TokenNumber {
        TokenNumber(self.serial)
    }
}

/// How this application identifies itself to authorization servers.
#[derive(Clone, Debug)]
pub struct ClientMetadata {
    /// The client name. Consent pages show it.
    pub name: String,
    /// The URL of the client ID metadata document.
    pub document_url: Option<ClientMetadataUrl>,
}

/// Returns true if the connection from `peer` to `here`, both on loopback, was opened by a process
/// of another user of this machine.
pub type IsOtherUser = fn(peer: SocketAddr, here: SocketAddr) -> bool;
