//! How many requests may be pending at once, which also limits how many connections are open.
//!
//! A request over HTTP/1 occupies a connection, and an event stream occupies one for as long as it
//! is open. Without a limit, a burst of calls takes every descriptor, and then neither other
//! servers nor new hosts nor files can be opened. A request beyond the limit waits for an earlier
//! one to end.
//!
//! Owns: the limits. Does not own: idle connections (`idle`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for others to end. That is far longer than a burst lasts. Only streams
/// and calls that never end occupy their connections for so long.
const TURN_TIMEOUT: Duration = Duration::from_secs(60);

/// One in this many connections is for [`Lane::Signals`].
const SIGNAL_SHARE: usize = 8;

/// What an HTTP request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// MCP requests and streams, which may be open for long.
    Exchanges,
    /// Notifications, responses and the end of a session. They never wait for exchanges, because a
    /// pending exchange may wait for one of them, for example for a cancellation.
    Signals,
}

/// The limits of pending requests.
pub(super) struct InFlight {
    exchanges: Limits,
    signals: Limits,
}

/// The limits of one lane.
struct Limits {
    total: Arc<Semaphore>,
    max_per_server: usize,
    servers: Mutex<HashMap<Authority, Arc<Semaphore>>>,
}

/// Permits one pending request, until it is dropped.
pub(super) struct Permit {
    _server: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// Too many requests were pending for too long.
#[derive(Debug, thiserror::Error)]
#[error(
    "all {max} connections that may be open at once are in use; hint: end sessions or calls that are not needed, or raise the limit of open files (`ulimit -n`)"
)]
pub(super) struct AtCapacity {
    max: usize,
}

impl InFlight {
    /// Allows at most `max` pending requests. One server gets at most half of each lane, so that it
    /// cannot block the others.
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
            // In this order, a request that waits for its server occupies no place of the others.
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
            // Such a request fails because of its address, and opens no connection.
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
