//! The interface of this crate: accounts, sign-ins and the `Authorization` for each server.
//!
//! Owns: the state that all of them share. Each submodule adds the methods for one purpose.

mod accounts;
mod approvals;
mod secrets;
mod sign_in;
mod tokens;
mod vault;

use std::sync::Arc;

use model::Clock;

use crate::audience::ConfiguredServer;
use crate::client_credentials::TokenCache;
use crate::http::HttpClients;
use crate::target::{ClientMetadata, IsOtherUser};
use crate::token::GrantStore;
use crate::token::source::Source;
use crate::vault::Vault;

/// Manages sign-ins and tokens. Clones share one state.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    source: Source,
    client: ClientMetadata,
    token_cache: TokenCache,
}

/// The options of an [`Identity`].
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// The HTTP clients for all requests.
    pub http: HttpClients,
    /// The store for tokens.
    pub vault: Vault,
    /// The clock.
    pub clock: Clock,
    /// How this application identifies itself to authorization servers.
    pub client: ClientMetadata,
    /// Checks which user's process connects to the callback port.
    pub is_other_user: IsOtherUser,
}

impl Identity {
    /// Creates an identity. Reads nothing yet.
    #[must_use]
    pub fn new(options: IdentityOptions) -> Self {
        Self(Arc::new(Inner {
            source: Source::new(
                options.http,
                options.clock,
                Arc::new(GrantStore::new(options.vault)),
                options.is_other_user,
            ),
            client: options.client,
            token_cache: TokenCache::default(),
        }))
    }

    /// Sets the configured servers. A server gets no token for a resource of another one.
    pub fn set_servers(&self, servers: Vec<ConfiguredServer>) {
        self.0.source.servers.set(servers);
    }
}
