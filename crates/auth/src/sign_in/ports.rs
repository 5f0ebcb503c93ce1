//! The ports of this machine that browsers are to come back to, and for which server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ports in use by sign-ins of ours. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeMap<u16, String>>>);

/// A port, noted until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    ports: Ports,
    port: u16,
}

impl Ports {
    fn map(&self) -> MutexGuard<'_, BTreeMap<u16, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a sign-in to `server` listens on the port.
    pub(super) fn hold(&self, port: u16, server: &str) -> Held {
        self.map().insert(port, server.to_owned());
        Held {
            ports: self.clone(),
            port,
        }
    }

    /// The server whose sign-in listens on the port.
    pub(super) fn holder(&self, port: u16) -> Option<String> {
        self.map().get(&port).cloned()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ports.map().remove(&self.port);
    }
}
