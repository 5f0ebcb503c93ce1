//! The state that all parts of the bridge share.
//!
//! Owns: the parts themselves, the configuration in force, the connected clients and sessions, and
//! change notifications. Does not own: what any part does.

mod view;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use auth::{ClientMetadata, ConfiguredServer, Identity, IdentityOptions, Target, Vault};
use control::api::{Problem, ProblemKind};
use control::peer::{self, Owner};
use mcp::memory::Budget;
use model::config::{BridgeConfig, BridgeSettings};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use view::StateCache;

use crate::background::Background;
use crate::browser::{self, BrowserError};
use crate::lifecycle::{Clients, REFRESH_TIMEOUT, TASK_TIMEOUT, Usage};
use crate::notifications::Notifications;
use crate::outbound::{OutboundConfig, read_ca_files};
use crate::pending_sign_ins::SignIns;
use crate::registry::{Registry, Server};
use crate::server_mode::ServerMode;
use crate::session_registry::SessionRegistry;
use crate::{Options, ServeError, VaultChoice, config_file, sleep_detector};

/// How long the change of a server's cache waits before it is written. A crash loses at most a
/// second, and a server whose lists change constantly costs one write a second.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The shared state of one bridge.
pub(crate) struct BridgeState {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) client: mcp::upstream::Client,
    /// Memory for messages to hosts, and for messages of hosts.
    pub(crate) to_hosts: Budget,
    pub(crate) from_hosts: Budget,
    pub(crate) registry: Registry,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) server_mode: ServerMode,
    config: Mutex<Config>,
    /// Locked while the configuration is changed.
    editing: Mutex<()>,
    http: Mutex<Result<String, Problem>>,
    socket: OnceLock<String>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) clients: Arc<Clients>,
    state_cache: StateCache,
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

#[derive(Debug)]
struct Config {
    settings: BridgeSettings,
    problem: Option<Problem>,
    /// Whether the file was ever read. The defaults are in force until then.
    was_read: bool,
    /// The file's time stamp and length when it was read.
    read_at: Option<(std::time::SystemTime, u64)>,
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
        let vault = match options.vault {
            VaultChoice::Keychain => Vault::keychain(&options.home.vault_dir()),
            VaultChoice::File => Vault::file(&options.home.vault_dir()),
        };
        let identity = Identity::new(IdentityOptions {
            http,
            vault,
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
        let bridge = Arc::new(Self {
            identity,
            client: client.map_err(|error| tls(&error))?,
            to_hosts: Budget::default(),
            from_hosts: Budget::default(),
            registry: Registry::new(options.home.seen_dir()),
            sign_ins: Arc::new(SignIns::new(notifications.clone())),
            server_mode,
            config: Mutex::new(Config {
                settings: BridgeSettings::default(),
                problem: None,
                was_read: false,
                read_at: None,
            }),
            editing: Mutex::new(()),
            socket: OnceLock::new(),
            http: Mutex::new(Err(Problem::new(ProblemKind::Failed, "not open yet"))),
            sessions,
            clients,
            state_cache: StateCache::new(notifications.state_changes()),
            notifications,
            background,
            options,
        });
        bridge.reload(true);
        bridge.server_mode.restore();
        bridge.background.spawn(open_vault(Arc::clone(&bridge)));
        bridge.background.spawn_until_shutdown(follow_sign_ins(
            Arc::clone(&bridge),
            bridge.identity.sign_ins(),
        ));
        bridge
            .background
            .spawn_until_shutdown(keep_tokens_stored(Arc::clone(&bridge)));
        bridge
            .background
            .spawn_until_shutdown(watch_for_sleep(Arc::clone(&bridge)));
        bridge
            .background
            .spawn_until_shutdown(save_caches(Arc::clone(&bridge)));
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

    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> BridgeSettings {
        self.config().settings.clone()
    }

    /// Reads the configuration again if the file changed. Runs whenever a client connects or sends
    /// a request, so it needs no timer. An invalid file leaves the last valid configuration in
    /// force.
    pub(crate) fn reload(&self, force: bool) {
        let path = self.options.home.config_file();
        let stamp = std::fs::metadata(&path)
            .and_then(|data| Ok((data.modified()?, data.len())))
            .ok();
        let mut config = self.config();
        if !force && config.read_at == stamp {
            return;
        }
        config.read_at = stamp;
        match config_file::read(&path) {
            Ok(BridgeConfig {
                bridge,
                servers,
                version,
            }) => {
                config.settings = bridge.clone();
                config.was_read = true;
                let roots = read_ca_files(&bridge.extra_ca_files);
                config.problem = roots.err().map(|error| {
                    let text = format!("{}: extra_ca_files: {error}", path.display());
                    tracing::error!(error = text, "not every certificate is trusted");
                    let hint = "name PEM files of certificates, then restart the bridge: `postern bridge --replace --detach`";
                    Problem::new(ProblemKind::Invalid, &text).with_hint(hint)
                });
                self.registry.configure(&BridgeConfig {
                    bridge,
                    servers,
                    version,
                });
            }
            Err(error) => {
                let in_force = match config.was_read {
                    true => "the last good configuration stays in force",
                    false => "no server is known until it is corrected",
                };
                tracing::error!(%error, "{in_force}");
                config.problem = Some(Problem::from_text(ProblemKind::Invalid, &error.to_string()));
            }
        }
        drop(config);
        self.announce_servers();
        self.notifications.state_changed();
    }

    /// Tells `auth` which servers are configured: none of them gets tokens of another.
    fn announce_servers(&self) {
        let servers = self.registry.all().into_iter();
        let servers = servers.map(|server| ConfiguredServer {
            name: server.name.to_string(),
            target: Target::clone(&server.target()),
        });
        self.identity.set_servers(servers.collect());
    }

    /// Changes the configuration and applies it. Runs one change at a time.
    pub(crate) fn edit_config(
        &self,
        edit: impl FnOnce(&Path) -> Result<(), config_file::ConfigError>,
    ) -> Result<(), Problem> {
        let edited = threads::blocking(|| {
            let _editing = self.editing.lock();
            edit(&self.options.home.config_file())
        });
        edited.map_err(|error| Problem::from_text(ProblemKind::Invalid, &error.to_string()))?;
        self.reload(true);
        Ok(())
    }

    /// Returns the server of that name. Reads the configuration again first.
    pub(crate) fn server(&self, name: &str) -> Result<Arc<Server>, Problem> {
        self.reload(false);
        self.or_config_problem(self.registry.named(name))
    }

    /// Returns the server of that name or at that URL. Reads the configuration again first.
    pub(crate) fn server_or_at(&self, text: &str) -> Result<Arc<Server>, Problem> {
        self.reload(false);
        let found = self.registry.named_or_at(text);
        if found.as_ref().is_ok_and(|server| server.ephemeral) {
            self.announce_servers();
        }
        self.or_config_problem(found)
    }

    /// Removes a server that is in no configuration. Returns true if it was one.
    pub(crate) fn forget_ephemeral(&self, name: &model::ServerName) -> bool {
        let is_forgotten = self.registry.forget_ephemeral(name);
        if is_forgotten {
            self.announce_servers();
            self.notifications.state_changed();
        }
        is_forgotten
    }

    /// Replaces `NotFound` by the problem of the configuration, if it has one: the server may be in
    /// the file that cannot be read.
    fn or_config_problem(
        &self,
        found: Result<Arc<Server>, Problem>,
    ) -> Result<Arc<Server>, Problem> {
        found.map_err(|problem| {
            let is_missing = problem.kind == ProblemKind::NotFound;
            let why = self.config_problem().filter(|_| is_missing);
            why.unwrap_or(problem)
        })
    }

    /// Returns what is wrong with the configuration.
    pub(crate) fn config_problem(&self) -> Option<Problem> {
        self.config().problem.clone()
    }

    /// Returns the base URL of the HTTP endpoints, or why they are not open.
    pub(crate) fn http(&self) -> Result<String, Problem> {
        self.http
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns a problem if the configuration now names another port than the open one.
    pub(crate) fn port_problem(&self) -> Option<Problem> {
        let wanted = self.settings().port;
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

    pub(crate) fn set_http(&self, http: Result<String, Problem>) {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = http;
        self.notifications.state_changed();
    }

    /// Returns the URL of the HTTP socket, once it is open.
    pub(crate) fn socket(&self) -> Option<&str> {
        self.socket.get().map(String::as_str)
    }

    /// Sets the URL of the HTTP socket. It is set once.
    pub(crate) fn set_socket(&self, url: String) {
        self.socket.get_or_init(|| url);
    }

    /// Waits until every task has ended and no token is being refreshed, [`SHUTDOWN_TIMEOUT`] at
    /// most.
    pub(crate) async fn end(self: &Arc<Self>) {
        let tasks = async {
            self.background.end(TASK_TIMEOUT).await;
            let bridge = Arc::clone(self);
            let saved = threads::run_blocking(move || bridge.registry.save());
            let saved = tokio::time::timeout(REFRESH_TIMEOUT, saved);
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

/// Opens the vault before it is needed, and shows its accounts. If nothing is stored yet, checks
/// whether something could be.
async fn open_vault(bridge: Arc<BridgeState>) {
    bridge.identity.accounts().await;
    bridge.probe_vault().await;
    bridge.notifications.state_changed();
}

/// Stores tokens whose storage failed, and shows that such tokens exist.
async fn keep_tokens_stored(bridge: Arc<BridgeState>) {
    let mut changes = bridge.identity.vault_changes();
    let shown = async {
        while changes.changed().await.is_ok() {
            bridge.notifications.state_changed();
        }
    };
    tokio::join!(bridge.identity.store_unsaved(), shown);
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

/// Writes the caches of servers on another thread. Changes within [`SAVE_INTERVAL`] are written
/// once. [`BridgeState::end`] writes the rest.
async fn save_caches(bridge: Arc<BridgeState>) {
    loop {
        bridge.registry.due().await;
        tokio::time::sleep(SAVE_INTERVAL).await;
        let bridge = Arc::clone(&bridge);
        threads::run_blocking(move || bridge.registry.save()).await;
    }
}
