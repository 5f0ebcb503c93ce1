//! The configured servers, for rules that compare one with the others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Issuer;
use model::config::ServerAuth;

use super::AllowedResources;
use crate::target::Target;

/// A configured server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredServer {
    /// The name.
    pub name: String,
    /// The URL, and how to sign in.
    pub target: Target,
}

/// All configured servers. The generation counter lets callers cache results.
#[derive(Debug, Default)]
pub(crate) struct ConfiguredServers {
    servers: Mutex<Arc<[ConfiguredServer]>>,
    generation: AtomicU64,
}

impl ConfiguredServers {
    /// Replaces the servers.
    pub(crate) fn set(&self, servers: Vec<ConfiguredServer>) {
        let mut current = self.lock();
        if **current != *servers {
            *current = servers.into();
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Increments the generation after a change of the approvals, which invalidates cached
    /// results.
    pub(crate) fn bump(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn all(&self) -> Arc<[ConfiguredServer]> {
        Arc::clone(&self.lock())
    }

    /// Returns all servers with another URL than `target`.
    pub(crate) fn others(&self, target: &Target) -> Vec<ConfiguredServer> {
        let all = self.all();
        let others = all
            .iter()
            .filter(|server| server.target.url() != target.url());
        others.cloned().collect()
    }

    /// Returns the name of a server, or its URL if it is not configured.
    pub(crate) fn name_of(&self, target: &Target) -> String {
        let all = self.all();
        let same = all.iter().find(|server| server.target == *target);
        let same = same.or_else(|| {
            all.iter()
                .find(|server| server.target.url() == target.url())
        });
        same.map_or_else(
            || target.url().shown().to_owned(),
            |server| server.name.clone(),
        )
    }

    /// Returns the authorization servers of the configuration: Entra authorities, and others.
    pub(crate) fn issuers(&self) -> (Vec<Issuer>, Vec<Issuer>) {
        let all = self.all();
        let auths = || all.iter().map(|server| server.target.auth());
        let authorities = auths().filter_map(ServerAuth::authority);
        let others = auths().filter_map(|auth| match auth {
            ServerAuth::Client { issuer, .. } => issuer.as_ref(),
            ServerAuth::Entra { .. }
            | ServerAuth::ClientCredentials(_)
            | ServerAuth::Discover
            | ServerAuth::None => None,
        });
        (authorities.cloned().collect(), others.cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[ConfiguredServer]>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConfiguredServer {
    /// Returns the resources of its configuration.
    pub(crate) fn resources(&self) -> AllowedResources {
        AllowedResources::configured(self.target.auth())
    }
}
