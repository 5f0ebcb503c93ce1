//! How many requests may be under way at once, and with that how many connections are open.
//!
//! A request over HTTP/1 has a connection to itself, and an event stream one for as long as it is
//! open. Without a cap a burst of calls takes every descriptor there is, and then nothing works any
//! more: no other server, no new host, no file. A request beyond the cap waits for one before it.
//!
//! Owns: the caps. Does not own: connections that are idle (`idle`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for others to end. Far longer than a burst lasts; only streams and
/// calls that never end hold their connections for so long.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// Of the connections, one in so many is for [`Lane::Signals`].
const SIGNAL_SHARE: usize = 8;

/// What a request of HTTP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Requests of MCP, and streams: they may be open for long.
    Exchanges,
    /// Notifications, responses and the end of a session. They never wait for exchanges: what is
    /// open may wait for one of these, as for a cancellation.
    Signals,
}

/// The requests under way.
pub(super) struct InFlight {
    exchanges: Limits,
    signals: Limits,
}

/// How many of one lane may be under way.
struct Limits {
    total: Arc<Semaphore>,
    max_per_server: usize,
    servers: Mutex<HashMap<Authority, Arc<Semaphore>>>,
}

/// The leave to be under way, until it is dropped.
pub(super) struct Permit {
    _server: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// Too many requests were under way for too long.
#[derive(Debug, thiserror::Error)]
#[error(
    "all {max} connections that may be open at once are in use; hint: end sessions or calls that are not needed, or raise the limit of open files (`ulimit -n`)"
)]
pub(super) struct AtCapacity {
    max: usize,
}

impl InFlight {
    /// At most `max` at once; half of each lane to one server, so that it cannot stop the others.
    pub(super) fn new(max: usize) -> Self {
        let signals = (max / SIGNAL_SHARE).max(2);
        Self {
            exchanges: Limits::new(max.saturating_sub(signals)),
            signals: Limits::new(signals),
        }
    }

    /// Waits until a request may be sent.
    pub(super) async fn permit(&self, lane: Lane, uri: &Uri) -> Result<Permit, AtCapacity> {
        let limits = match lane {
            Lane::Exchanges => &self.exchanges,
            Lane::Signals => &self.signals,
        };
        limits.permit(uri).await
    }
}

impl Limits {
    fn new(max: usize) -> Self {
        let max = max.clamp(2, Semaphore::MAX_PERMITS);
        Self {
            total: Arc::new(Semaphore::new(max)),
            max_per_server: max / 2,
            servers: Mutex::default(),
        }
    }

    async fn permit(&self, uri: &Uri) -> Result<Permit, AtCapacity> {
        let server = self.server(uri);
        let both = async {
            // In this order: what waits for its server takes nothing from the others.
            let server = server.acquire_owned().await.ok()?;
            let total = Arc::clone(&self.total).acquire_owned().await.ok()?;
            Some(Permit {
                _server: server,
                _total: total,
            })
        };
        let permit = tokio::time::timeout(TURN_TIMEOUT, both).await;
        permit.ok().flatten().ok_or(AtCapacity {
            max: self.max_per_server,
        })
    }

    fn server(&self, uri: &Uri) -> Arc<Semaphore> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(authority) = uri.authority() else {
            // Such a request fails by its address, and opens no connection.
            return Arc::new(Semaphore::new(1));
        };
        if let Some(server) = servers.get(authority) {
            return Arc::clone(server);
        }
        let server = Arc::new(Semaphore::new(self.max_per_server));
        servers.insert(authority.clone(), Arc::clone(&server));
        server
    }
}
