//! The open sessions of hosts.
//!
//! Owns: the list of sessions, which of them wait for a response, asking shims to move to a newer
//! bridge, and notifying sessions that the machine has slept. Does not own: what a session does
//! (`session`), and how hosts reach it (`endpoint`).

mod listing;
mod presence;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::api::SessionView;
use model::{Clock, ServerName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::notifications::Notifications;
use listing::ListedSession;
pub(crate) use listing::Listing;
pub(crate) use presence::{OpenGuard, Presence};

/// How long sessions may take to end when a newer bridge replaces this one.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The open sessions.
#[derive(Debug)]
pub(crate) struct SessionRegistry {
    clock: Clock,
    notifications: Notifications,
    sessions: Mutex<BTreeMap<u32, ListedSession>>,
    next_id: AtomicU32,
    /// How many sessions have pending responses to their hosts.
    pending: watch::Sender<usize>,
    yielding: CancellationToken,
    resumes: watch::Sender<()>,
}

impl SessionRegistry {
    pub(crate) fn new(clock: Clock, notifications: Notifications) -> Self {
        Self {
            clock,
            notifications,
            sessions: Mutex::default(),
            next_id: AtomicU32::new(1),
            pending: watch::Sender::new(0),
            yielding: CancellationToken::new(),
            resumes: watch::Sender::new(()),
        }
    }

    /// Lists a session until the guard is dropped.
    pub(crate) fn register(
        self: &Arc<Self>,
        server: &ServerName,
        listing: Listing,
    ) -> SessionGuard {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let since = self.clock.unix();
        let is_listed = !matches!(listing, Listing::Single);
        let session = ListedSession::new(id, server.to_string(), since, listing);
        self.sessions().insert(id, session);
        self.notifications.state_changed();
        SessionGuard {
            registry: Arc::clone(self),
            id,
            is_listed,
        }
    }

    /// Creates the presence of a host over Streamable HTTP.
    pub(crate) fn presence(&self) -> Presence {
        Presence::new(self.clock.clone(), self.notifications.clone())
    }

    /// Returns the list of sessions.
    pub(crate) fn views(&self) -> Vec<SessionView> {
        self.sessions()
            .values()
            .filter_map(ListedSession::view)
            .collect()
    }

    /// Returns true if a session may go on. A session counts for as long as it is kept, listed or
    /// not, because nothing starts a bridge for a host that comes back over HTTP. It no longer
    /// counts once its host is known to have ended.
    pub(crate) fn is_in_use(&self) -> bool {
        self.sessions().values().any(ListedSession::may_go_on)
    }

    /// Records that a session has a pending response to its host, until the guard is dropped.
    pub(crate) fn track_pending(self: &Arc<Self>) -> PendingGuard {
        self.pending.send_modify(|pending| *pending += 1);
        PendingGuard(Arc::clone(self))
    }

    /// Waits until shims are to move their sessions to a newer bridge.
    pub(crate) async fn yielding(&self) {
        self.yielding.cancelled().await;
    }

    /// Asks every shim to disconnect. Waits until they have and all other hosts have their
    /// responses, [`DRAIN_TIMEOUT`] at most. Shims send what they have not sent yet to the newer
    /// bridge.
    pub(crate) async fn drain(&self) {
        tracing::info!("yielding to a newer bridge");
        let mut changes = self.notifications.state_changes();
        let mut pending = self.pending.subscribe();
        self.yielding.cancel();
        let gone = async {
            while self.sessions().values().any(ListedSession::is_shim) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            let _ = pending.wait_for(|pending| *pending == 0).await;
        };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, gone).await;
    }

    /// Notifies all sessions that the machine has slept.
    pub(crate) fn resume(&self) {
        self.resumes.send_replace(());
    }

    /// Notifies that the machine has slept.
    pub(crate) fn resumes(&self) -> watch::Receiver<()> {
        self.resumes.subscribe()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u32, ListedSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a session with a pending response.
#[derive(Debug)]
pub(crate) struct PendingGuard(Arc<SessionRegistry>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.pending.send_modify(|pending| *pending -= 1);
    }
}

/// Lists a session.
#[derive(Debug)]
pub(crate) struct SessionGuard {
    registry: Arc<SessionRegistry>,
    id: u32,
    is_listed: bool,
}

impl SessionGuard {
    /// Returns true if the session is of a kind that is listed.
    pub(crate) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Sets the name of the host.
    pub(crate) fn set_host(&self, name: &str) {
        if let Some(session) = self.registry.sessions().get_mut(&self.id) {
            session.set_host(name);
        }
        self.registry.notifications.state_changed();
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.id);
        self.registry.notifications.state_changed();
    }
}
