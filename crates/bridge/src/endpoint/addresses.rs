//! The addresses of the HTTP endpoints.
//!
//! Does not own: opening them.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use control::api::{Problem, ProblemKind};

use crate::notifications::Notifications;

/// The addresses of the HTTP endpoints, once they are open.
#[derive(Debug)]
pub(crate) struct Addresses {
    http: Mutex<Result<String, Problem>>,
    socket: OnceLock<String>,
    notifications: Notifications,
}

impl Addresses {
    /// Creates it for endpoints that are not open yet.
    pub(crate) fn new(notifications: Notifications) -> Self {
        Self {
            http: Mutex::new(Err(Problem::new(ProblemKind::Failed, "not open yet"))),
            socket: OnceLock::new(),
            notifications,
        }
    }

    /// Returns the base URL of the HTTP endpoints, or why they are not open.
    pub(crate) fn http(&self) -> Result<String, Problem> {
        self.lock_http().clone()
    }

    /// Returns a problem if the configuration now names another port, `wanted`, than the open one.
    pub(crate) fn port_problem(&self, wanted: u16) -> Option<Problem> {
        let base = self.http().ok()?;
        let (_, port) = base.rsplit_once(':')?;
        if wanted == 0 || port.parse() == Ok(wanted) {
            return None;
        }
        let text = format!("the configuration says port {wanted}, the endpoint is at {port}");
        Some(Problem::new(ProblemKind::Invalid, text).with_hint(
            "restart the bridge to use the new port: `postern bridge --replace --detach`",
        ))
    }

    pub(super) fn set_http(&self, http: Result<String, Problem>) {
        *self.lock_http() = http;
        self.notifications.state_changed();
    }

    /// Returns the URL of the HTTP socket, once it is open.
    pub(crate) fn socket(&self) -> Option<&str> {
        self.socket.get().map(String::as_str)
    }

    /// Sets the URL of the HTTP socket. It is set once.
    pub(super) fn set_socket(&self, url: String) {
        self.socket.get_or_init(|| url);
    }

    fn lock_http(&self) -> MutexGuard<'_, Result<String, Problem>> {
        self.http.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
