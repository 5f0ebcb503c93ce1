//! The servers to sign in to, the authorization of their requests, and this client's metadata.

use std::net::SocketAddr;
use std::ops::Deref;

use ::http::HeaderValue;
use model::EndpointUrl;
use model::config::{ClientMetadataUrl, ServerAuth};

use crate::account::AccountKey;

/// The configuration of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's URL.
    pub url: EndpointUrl,
    /// How to sign in to it.
    pub auth: ServerAuth,
}

/// A [`Target`] with the name that finds its grant. The name is long and every message needs it,
/// so it is built once.
#[derive(Clone, Debug)]
pub struct NamedTarget {
    pub(crate) target: Target,
    pub(crate) name: String,
}

impl From<Target> for NamedTarget {
    fn from(target: Target) -> Self {
        let name = target.name();
        Self { target, name }
    }
}

impl Deref for NamedTarget {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
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

impl Target {
    /// Returns the name by which a grant stores the target. Entra's tokens are for a resource,
    /// whatever the server's URL. Elsewhere the URL decides.
    pub(crate) fn name(&self) -> String {
        match &self.auth {
            ServerAuth::None => format!("none {}", self.url),
            ServerAuth::ClientCredentials(config) => format!("program {} {config:?}", self.url),
            ServerAuth::Discover => format!("discover {}", self.url),
            ServerAuth::Client {
                client_id,
                client_secret: _,
                issuer,
                scopes,
                redirect_port: _,
            } => {
                let at = issuer.as_ref().map(|issuer| format!(" at {issuer}"));
                let (at, scopes) = (at.unwrap_or_default(), scopes.join(" "));
                format!("client {} {client_id} {scopes}{at}", self.url)
            }
            ServerAuth::Entra {
                authority,
                client_id,
                resource,
                scopes,
                redirect_port: _,
            } => {
                let scopes = scopes.join(" ");
                format!("entra {authority} {client_id} {resource} {scopes}")
            }
        }
    }
}
