//! One bridge.
//!
//! Owns: when its parts start and end. Does not own: how the parts are built (`parts`), and what
//! any of them does. Only the management API uses all of them.

mod parts;

use std::sync::Arc;

use auth::Identity;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::background::Background;
use crate::config_store::ConfigStore;
use crate::endpoint::{Addresses, EndpointContext};
use crate::lifecycle::{Clients, REFRESH_TIMEOUT, TASK_TIMEOUT, Usage};
use crate::notifications::Notifications;
use crate::pending_sign_ins::SignIns;
use crate::server_mode::ServerMode;
use crate::session::SessionContext;
use crate::session_registry::SessionRegistry;
use crate::sign_in::SignInContext;
use crate::state_view::StateView;
use crate::vault_status::VaultStatus;
use crate::{Options, ServeError, sleep_detector};

/// The parts of one bridge.
pub(crate) struct Bridge {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) vault: VaultStatus,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) sign_in: Arc<SignInContext>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) session: Arc<SessionContext>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) endpoint: Arc<EndpointContext>,
    pub(crate) server_mode: ServerMode,
    pub(crate) clients: Arc<Clients>,
    pub(crate) state: StateView,
    pub(crate) notifications: Notifications,
    pub(crate) background: Background,
}

impl Bridge {
    /// Builds the parts and starts their tasks. `shutdown` ends the bridge.
    ///
    /// # Errors
    /// Returns [`ServeError`] if a certificate file cannot be used, or the TLS library cannot be
    /// set up.
    pub(crate) fn start(options: Options, shutdown: CancellationToken) -> Result<Self, ServeError> {
        let bridge = Self::build(options, Background::new(shutdown))?;
        bridge.config.reload(true);
        bridge.server_mode.restore();
        bridge.spawn_tasks();
        Ok(bridge)
    }

    fn spawn_tasks(&self) {
        let background = &self.background;
        background.spawn(self.vault.clone().open());
        background.spawn_until_shutdown(self.vault.clone().keep_tokens_stored());
        let sign_ins = self.identity.sign_ins();
        background.spawn_until_shutdown(self.notifications.clone().follow_sign_ins(sign_ins));
        let config = Arc::clone(&self.config);
        background.spawn_until_shutdown(async move { config.save_caches_when_due().await });
        let (clock, session) = (self.options.clock.clone(), Arc::clone(&self.session));
        background.spawn_until_shutdown(async move {
            // Connections from before a sleep may be dead.
            let on_resume = || {
                session.upstream.forget_connections();
                session.sessions.resume();
            };
            sleep_detector::watch(&clock, on_resume).await;
        });
        if let Some(idle_time) = self.options.idle_exit {
            let usage = Usage {
                clients: Arc::clone(&self.clients),
                sessions: Arc::clone(&self.sessions),
                server_mode: self.server_mode.clone(),
            };
            let (notifications, shared) = (self.notifications.clone(), background.clone());
            background.spawn(usage.end_when_idle(idle_time, notifications, shared));
        }
    }

    /// Waits until every task has ended and no token is being refreshed, `SHUTDOWN_TIMEOUT` at
    /// most.
    pub(crate) async fn end(&self) {
        let tasks = async {
            self.background.end(TASK_TIMEOUT).await;
            let saved = timeout(REFRESH_TIMEOUT, self.config.save_caches());
            let settled = timeout(REFRESH_TIMEOUT, self.identity.settled());
            let (saved, settled) = tokio::join!(saved, settled);
            if saved.is_err() {
                tracing::warn!("the bridge ends before the caches of servers are written");
            }
            if settled.is_err() {
                tracing::warn!("the bridge ends during a token refresh; a sign-in may be lost");
            }
        };
        tokio::join!(self.server_mode.stop(), tasks);
    }
}
