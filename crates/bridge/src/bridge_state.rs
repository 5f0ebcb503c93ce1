//! The state that all parts of the bridge share.
//!
//! Owns: the parts themselves, the configuration in force, the connected clients and sessions, and
//! change notifications. Does not own: what any part does.

use std::sync::Arc;

use auth::{ClientMetadata, Identity, IdentityOptions, Vault};
use control::peer::{self, Owner};
use mcp::memory::Budget;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::addresses::Addresses;
use crate::background::Background;
use crate::browser::{self, BrowserError};
use crate::config_store::ConfigStore;
use crate::lifecycle::{Clients, REFRESH_TIMEOUT, TASK_TIMEOUT, Usage};
use crate::notifications::Notifications;
use crate::outbound::OutboundConfig;
use crate::pending_sign_ins::SignIns;
use crate::registry::Registry;
use crate::server_mode::ServerMode;
use crate::session_registry::SessionRegistry;
use crate::state_view::{StateSources, StateView};
use crate::vault_status::VaultStatus;
use crate::{Options, ServeError, VaultChoice, sleep_detector};

/// The shared state of one bridge.
pub(crate) struct BridgeState {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) client: mcp::upstream::Client,
    /// Memory for messages to hosts, and for messages of hosts.
    pub(crate) to_hosts: Budget,
    pub(crate) from_hosts: Budget,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) server_mode: ServerMode,
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) vault: VaultStatus,
    pub(crate) state: StateView,
    pub(crate) notifications: Notifications,
    pub(crate) background: Background,
}

impl std::fmt::Debug for BridgeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BridgeState")
            .field("home", &self.options.home)
            .finish_non_exhaustive()
    }
}

impl BridgeState {
    pub(crate) async fn new(
        options: Options,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, ServeError> {
        let tls = |error: &dyn std::fmt::Display| ServeError::Tls(error.to_string());
        let OutboundConfig {
            roots,
            proxy,
            client_metadata,
        } = OutboundConfig::load_lenient(&options).map_err(|error| tls(&error))?;
        let http =
            auth::http::HttpClients::new(roots.clone(), &proxy).map_err(|error| tls(&error))?;
        let client = mcp::upstream::Client::new(mcp::upstream::ClientOptions {
            extra_roots: roots,
            proxy,
            max_connections: Some(options.descriptors.upstream),
        });
        let stored_in = match options.vault {
            VaultChoice::Keychain => Vault::keychain(&options.home.vault_dir()),
            VaultChoice::File => Vault::file(&options.home.vault_dir()),
        };
        let identity = Identity::new(IdentityOptions {
            http,
            vault: stored_in,
            clock: options.clock.clone(),
            client: ClientMetadata {
                name: "Postern".to_owned(),
                document_url: client_metadata,
            },
            is_other_user: |peer, here| peer::owner(peer, here) == Owner::OtherUser,
        });
        let notifications = Notifications::default();
        let background = Background::new(shutdown);
        let server_mode = ServerMode::new(
            options.home.clone(),
            options.program.clone(),
            notifications.clone(),
            background.clone(),
        );
        let sessions = SessionRegistry::new(options.clock.clone(), notifications.clone());
        let sessions = Arc::new(sessions);
        let clients = Arc::new(Clients::new(notifications.clone()));
        let config = ConfigStore::new(
            options.home.config_file(),
            Registry::new(options.home.seen_dir()),
            identity.clone(),
            notifications.clone(),
        );
        let config = Arc::new(config);
        let sign_ins = Arc::new(SignIns::new(notifications.clone()));
        let addresses = Arc::new(Addresses::new(notifications.clone()));
        let vault = VaultStatus::new(options.vault, identity.clone(), notifications.clone());
        let sources = StateSources {
            version: options.version.clone(),
            identity: identity.clone(),
            config: Arc::clone(&config),
            addresses: Arc::clone(&addresses),
            vault: vault.clone(),
            sessions: Arc::clone(&sessions),
            sign_ins: Arc::clone(&sign_ins),
            server_mode: server_mode.clone(),
        };
        let state = StateView::new(sources, &notifications);
        let bridge = Arc::new(Self {
            identity,
            client: client.map_err(|error| tls(&error))?,
            to_hosts: Budget::default(),
            from_hosts: Budget::default(),
            sign_ins,
            server_mode,
            config,
            addresses,
            vault,
            state,
            sessions,
            clients,
            notifications,
            background,
            options,
        });
        bridge.config.reload(true);
        bridge.server_mode.restore();
        bridge.background.spawn(bridge.vault.clone().open());
        bridge.background.spawn_until_shutdown(follow_sign_ins(
            Arc::clone(&bridge),
            bridge.identity.sign_ins(),
        ));
        bridge
            .background
            .spawn_until_shutdown(bridge.vault.clone().keep_tokens_stored());
        bridge
            .background
            .spawn_until_shutdown(watch_for_sleep(Arc::clone(&bridge)));
        let config = Arc::clone(&bridge.config);
        bridge
            .background
            .spawn_until_shutdown(async move { config.save_caches_when_due().await });
        if let Some(timeout) = bridge.options.idle_exit {
            let usage = Usage {
                clients: Arc::clone(&bridge.clients),
                sessions: Arc::clone(&bridge.sessions),
                server_mode: bridge.server_mode.clone(),
            };
            let (notifications, background) =
                (bridge.notifications.clone(), bridge.background.clone());
            bridge
                .background
                .spawn(usage.end_when_idle(timeout, notifications, background));
        }
        Ok(bridge)
    }

    /// Opens a page in the user's browser.
    ///
    /// # Errors
    /// As [`browser::open`].
    pub(crate) async fn open_page(&self, page: &Url) -> Result<(), BrowserError> {
        let command = self.options.browser.as_deref();
        browser::open(page, command, self.options.browser_availability).await
    }

    /// Waits until every task has ended and no token is being refreshed, [`SHUTDOWN_TIMEOUT`] at
    /// most.
    pub(crate) async fn end(self: &Arc<Self>) {
        let tasks = async {
            self.background.end(TASK_TIMEOUT).await;
            let saved = tokio::time::timeout(REFRESH_TIMEOUT, self.config.save_caches());
            let settled = tokio::time::timeout(REFRESH_TIMEOUT, self.identity.settled());
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

/// Notifies of every sign-in, even if it was cancelled just before.
async fn follow_sign_ins(bridge: Arc<BridgeState>, mut sign_ins: watch::Receiver<()>) {
    while sign_ins.changed().await.is_ok() {
        bridge.notifications.accounts_changed();
        bridge.notifications.state_changed();
    }
}

/// After a sleep, drops all connections and notifies every session.
async fn watch_for_sleep(bridge: Arc<BridgeState>) {
    sleep_detector::watch(&bridge.options.clock, || {
        bridge.client.forget_connections();
        bridge.sessions.resume();
    })
    .await;
}
