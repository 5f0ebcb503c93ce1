//! The callback ports in use, and the server of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The callback ports of sign-ins in progress. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeMap<u16, String>>>);

/// Keeps a port registered until it is dropped.
#[derive(Debug)]
pub(crate) struct PortGuard {
    ports: Ports,
    port: u16,
}

impl Ports {
    fn map(&self) -> MutexGuard<'_, BTreeMap<u16, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the port for a sign-in to `server`.
    pub(crate) fn register(&self, port: u16, server: &str) -> PortGuard {
        self.map().insert(port, server.to_owned());
        PortGuard {
            ports: self.clone(),
            port,
        }
    }

    /// Returns the server whose sign-in uses the port.
    pub(crate) fn holder(&self, port: u16) -> Option<String> {
        self.map().get(&port).cloned()
    }
}

impl Drop for PortGuard {
    fn drop(&mut self) {
        self.ports.map().remove(&self.port);
    }
}
