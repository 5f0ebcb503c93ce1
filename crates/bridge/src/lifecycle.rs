//! How long the bridge runs.
//!
//! Owns: which clients of the management API are connected, and when an unused bridge ends. Does
//! not own: the tasks that end with it (`background`), and the sessions of hosts
//! (`session_registry`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::background::Background;
use crate::notifications::Notifications;
use crate::server_mode::ServerMode;
use crate::session_registry::SessionRegistry;

/// How long tasks may take to end.
pub(crate) const TASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a token refresh may take after that.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// The maximum time a bridge takes to end. It holds its lock until then.
pub const SHUTDOWN_TIMEOUT: Duration = TASK_TIMEOUT.saturating_add(REFRESH_TIMEOUT);

/// The connected clients of the management API.
#[derive(Debug)]
pub(crate) struct Clients {
    all: AtomicUsize,
    desktops: AtomicUsize,
    notifications: Notifications,
}

impl Clients {
    pub(crate) fn new(notifications: Notifications) -> Self {
        Self {
            all: AtomicUsize::new(0),
            desktops: AtomicUsize::new(0),
            notifications,
        }
    }

    /// Counts a client until the guard is dropped. `desktop` says that it is the desktop app.
    pub(crate) fn attach(self: &Arc<Self>, desktop: bool) -> ClientGuard {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.desktops
            .fetch_add(usize::from(desktop), Ordering::Relaxed);
        self.notifications.state_changed();
        ClientGuard {
            clients: Arc::clone(self),
            desktop,
        }
    }

    /// Returns true if a desktop app is attached, which shows what needs attention.
    pub(crate) fn desktop_attached(&self) -> bool {
        self.desktops.load(Ordering::Relaxed) > 0
    }

    fn is_empty(&self) -> bool {
        self.all.load(Ordering::Relaxed) == 0
    }
}

/// Counts a connected client of the management API.
#[derive(Debug)]
pub(crate) struct ClientGuard {
    clients: Arc<Clients>,
    desktop: bool,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.all.fetch_sub(1, Ordering::Relaxed);
        self.clients
            .desktops
            .fetch_sub(usize::from(self.desktop), Ordering::Relaxed);
        self.clients.notifications.state_changed();
    }
}

/// What keeps a bridge with an idle timeout running.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) clients: Arc<Clients>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) server_mode: ServerMode,
}

impl Usage {
    /// Returns true if no client, session or gateway needs the bridge.
    fn is_idle(&self) -> bool {
        self.clients.is_empty() && !self.sessions.is_in_use() && !self.server_mode.is_on()
    }

    /// Ends the bridge once it has been idle for `timeout`.
    pub(crate) async fn end_when_idle(
        self,
        timeout: Duration,
        notifications: Notifications,
        background: Background,
    ) {
        let mut changes = notifications.state_changes();
        loop {
            let rested = async {
                if self.is_idle() {
                    tokio::time::sleep(timeout).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = rested => break,
                changed = changes.changed() => if changed.is_err() { return },
                () = background.shutdown().cancelled() => return,
            }
        }
        tracing::info!("the bridge is idle and ends");
        background.shutdown().cancel();
    }
}
