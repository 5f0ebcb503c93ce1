//! What all parts of the bridge share.
//!
//! Owns: the parts themselves, the configuration in force, who is connected, and the news that
//! something changed. Does not own: what any part does.

mod listing;
mod presence;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use auth::{AccountKey, ConfiguredServer, Identity, IdentityOptions, Program, Target, Vault};
use control::api::{Problem, ProblemKind, SessionView};
use control::peer::{self, Owner};
use mcp::memory::Budget;
use model::config::{BridgeConfig, BridgeSettings};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use listing::ListedSession;
pub(crate) use listing::Listing;
pub(crate) use presence::{OpenGuard, Presence};
use view::StateCache;

use crate::browser::{self, BrowserError};
use crate::outbound::{OutboundConfig, read_ca_files};
use crate::registry::{Registry, Server};
use crate::server_mode::ServerMode;
use crate::sign_in::SignIns;
use crate::{Options, ServeError, VaultChoice, config_file, sleep_detector};

/// How long tasks may take to end.
const TASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a renewal may then take that is still under way.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// How long what was seen of a server waits before it is written: a second of it is little to lose
/// in a crash, and a server whose lists always change costs one write a second.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a bridge may take to end once it is told to: until then it has its lock.
pub const SHUTDOWN_TIMEOUT: Duration = TASK_TIMEOUT.saturating_add(REFRESH_TIMEOUT);

/// The shared parts of one bridge.
pub(crate) struct BridgeState {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) client: mcp::up::Client,
    /// What messages to hosts may take, and those of hosts.
    pub(crate) to_hosts: Budget,
    pub(crate) from_hosts: Budget,
    pub(crate) registry: Registry,
    pub(crate) sign_ins: SignIns,
    pub(crate) server_mode: ServerMode,
    /// Ends the bridge.
    pub(crate) shutdown: CancellationToken,
    /// Asks shims to take their conversations to a newer bridge.
    pub(crate) yielding: CancellationToken,
    config: Mutex<Config>,
    /// Locked while the configuration is changed.
    editing: Mutex<()>,
    http: Mutex<Result<String, Problem>>,
    socket: OnceLock<String>,
    sessions: Mutex<BTreeMap<u32, ListedSession>>,
    next_session: AtomicU32,
    /// How many sessions owe their hosts something.
    pending_sessions: watch::Sender<usize>,
    clients: AtomicUsize,
    desktops: AtomicUsize,
    changed: watch::Sender<()>,
    state_cache: StateCache,
    accounts: watch::Sender<()>,
    resumes: watch::Sender<()>,
    tasks: TaskTracker,
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
    /// Whether it could be read so far. Until then the usual settings are in force.
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
        let http = auth::http::Clients::new(roots.clone(), &proxy).map_err(|error| tls(&error))?;
        let client = mcp::up::Client::new(mcp::up::ClientOptions {
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
            program: Program {
                name: "Postern".to_owned(),
                metadata: client_metadata,
            },
            is_other_user: |peer, here| peer::owner(peer, here) == Owner::Stranger,
        });
        let changed = watch::Sender::new(());
        let bridge = Arc::new(Self {
            identity,
            client: client.map_err(|error| tls(&error))?,
            to_hosts: Budget::default(),
            from_hosts: Budget::default(),
            registry: Registry::new(options.home.seen_dir()),
            sign_ins: SignIns::default(),
            server_mode: ServerMode::default(),
            shutdown,
            yielding: CancellationToken::new(),
            config: Mutex::new(Config {
                settings: BridgeSettings::default(),
                problem: None,
                was_read: false,
                read_at: None,
            }),
            editing: Mutex::new(()),
            socket: OnceLock::new(),
            http: Mutex::new(Err(Problem::new(ProblemKind::Failed, "not open yet"))),
            sessions: Mutex::default(),
            next_session: AtomicU32::new(1),
            pending_sessions: watch::Sender::new(0),
            clients: AtomicUsize::new(0),
            desktops: AtomicUsize::new(0),
            state_cache: StateCache::new(changed.subscribe()),
            changed,
            accounts: watch::Sender::new(()),
            resumes: watch::Sender::new(()),
            tasks: TaskTracker::new(),
            options,
        });
        bridge.reload(true);
        bridge.server_mode.restore(&bridge);
        bridge.spawn(open_vault(Arc::clone(&bridge)));
        bridge.spawn(follow_sign_ins(
            Arc::clone(&bridge),
            bridge.identity.sign_ins(),
        ));
        bridge.spawn(keep_tokens_stored(Arc::clone(&bridge)));
        bridge.spawn(watch_for_sleep(Arc::clone(&bridge)));
        bridge.spawn(save_caches(Arc::clone(&bridge)));
        if let Some(after) = bridge.options.idle_exit {
            bridge.spawn(end_when_idle(Arc::clone(&bridge), after));
        }
        Ok(bridge)
    }

    /// Runs a task that the bridge waits for when it ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Tells everybody that there is something new to see.
    pub(crate) fn changed(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Opens a page in the person's browser.
    ///
    /// # Errors
    /// As [`browser::open`].
    pub(crate) async fn open_page(&self, page: &Url) -> Result<(), BrowserError> {
        let command = self.options.browser.as_deref();
        browser::open(page, command, self.options.browser_availability).await
    }

    /// Tells every session that somebody has signed in or out.
    pub(crate) fn accounts_changed(&self) {
        self.accounts.send_replace(());
    }

    pub(crate) fn account_news(&self) -> watch::Receiver<()> {
        self.accounts.subscribe()
    }

    /// News that a grant has got a new access token without a sign-in.
    pub(crate) fn refreshes(&self) -> watch::Receiver<()> {
        self.identity.refreshes()
    }

    /// News that the machine has slept.
    pub(crate) fn resumes(&self) -> watch::Receiver<()> {
        self.resumes.subscribe()
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> BridgeSettings {
        self.config().settings.clone()
    }

    /// Reads the configuration again if the file changed. It is looked at whenever somebody
    /// connects or asks, so no timer has to. A bad file leaves the last good one in force.
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
                    let hint = "name PEM files of certificates, and start the bridge anew: `postern bridge --replace --detach`";
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
        self.changed();
    }

    /// Tells who signs in which servers there are: none of them gets tokens of another one.
    fn announce_servers(&self) {
        let servers = self.registry.all().into_iter();
        let servers = servers.map(|server| ConfiguredServer {
            name: server.name.to_string(),
            target: Target::clone(&server.target()),
        });
        self.identity.set_servers(servers.collect());
    }

    /// Changes the configuration, one change at a time, and puts it in force.
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

    /// The server of that name, after a look at the configuration.
    pub(crate) fn server(&self, name: &str) -> Result<Arc<Server>, Problem> {
        self.reload(false);
        self.or_config_problem(self.registry.named(name))
    }

    /// The server of that name or at that URL, after a look at the configuration.
    pub(crate) fn server_or_at(&self, text: &str) -> Result<Arc<Server>, Problem> {
        self.reload(false);
        let found = self.registry.named_or_at(text);
        if found.as_ref().is_ok_and(|server| server.ephemeral) {
            self.announce_servers();
        }
        self.or_config_problem(found)
    }

    /// Forgets a server that is in no configuration. Returns whether it was one.
    pub(crate) fn forget_ephemeral(&self, name: &model::ServerName) -> bool {
        let is_forgotten = self.registry.forget_ephemeral(name);
        if is_forgotten {
            self.announce_servers();
            self.changed();
        }
        is_forgotten
    }

    /// A server that is not found may stand in a file that cannot be read: then that is why.
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

    /// What is wrong with the configuration.
    pub(crate) fn config_problem(&self) -> Option<Problem> {
        self.config().problem.clone()
    }

    /// Where the HTTP faces are, or why they are not.
    pub(crate) fn http(&self) -> Result<String, Problem> {
        self.http
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the HTTP faces are at another port than the configuration says by now.
    pub(crate) fn port_problem(&self) -> Option<Problem> {
        let wanted = self.settings().port;
        let base = self.http().ok()?;
        let (_, port) = base.rsplit_once(':')?;
        if wanted == 0 || port.parse() == Ok(wanted) {
            return None;
        }
        let text = format!("the configuration says port {wanted}, the endpoint is at {port}");
        Some(
            Problem::new(ProblemKind::Invalid, text)
                .with_hint("a port is taken up at the start: `postern bridge --replace --detach`"),
        )
    }

    pub(crate) fn set_http(&self, http: Result<String, Problem>) {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = http;
        self.changed();
    }

    /// Where HTTP has a socket of its own, once it is open.
    pub(crate) fn socket(&self) -> Option<&str> {
        self.socket.get().map(String::as_str)
    }

    /// There is one in the life of a bridge.
    pub(crate) fn set_socket(&self, url: String) {
        self.socket.get_or_init(|| url);
    }

    /// Whether a desktop app shows what needs attention.
    pub(crate) fn desktop_attached(&self) -> bool {
        self.desktops.load(Ordering::Relaxed) > 0
    }

    /// Counts a client of the management API until the guard is dropped.
    pub(crate) fn attach(self: &Arc<Self>, desktop: bool) -> ClientGuard {
        self.clients.fetch_add(1, Ordering::Relaxed);
        self.desktops
            .fetch_add(usize::from(desktop), Ordering::Relaxed);
        self.changed();
        ClientGuard {
            bridge: Arc::clone(self),
            desktop,
        }
    }

    /// Lists a session until the guard is dropped.
    pub(crate) fn register(self: &Arc<Self>, server: &Server, listing: Listing) -> SessionGuard {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        let since = self.options.clock.unix();
        let is_listed = !matches!(listing, Listing::Single);
        let session = ListedSession::new(id, server.name.to_string(), since, listing);
        self.sessions().insert(id, session);
        self.changed();
        SessionGuard {
            bridge: Arc::clone(self),
            id,
            is_listed,
        }
    }

    /// The presence of a host that speaks Streamable HTTP.
    pub(crate) fn presence(&self) -> Presence {
        Presence::new(self.options.clock.clone(), self.changed.clone())
    }

    fn session_views(&self) -> Vec<SessionView> {
        self.sessions()
            .values()
            .filter_map(ListedSession::view)
            .collect()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u32, ListedSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if no client, session or gateway needs the bridge. A session counts for as long as
    /// it is kept, listed or not, because nothing starts a bridge for a host that comes back over
    /// HTTP. It does not count once its host is known to have ended.
    fn is_idle(&self) -> bool {
        self.clients.load(Ordering::Relaxed) == 0
            && !self.sessions().values().any(ListedSession::may_go_on)
            && !self.server_mode.is_on()
    }

    /// Notes that a session owes its host something, until the guard is dropped.
    pub(crate) fn track_pending(self: &Arc<Self>) -> PendingGuard {
        self.pending_sessions
            .send_modify(|pending_sessions| *pending_sessions += 1);
        PendingGuard(Arc::clone(self))
    }

    /// Asks every shim to let go, and waits until they have and every other host has its answers,
    /// ten seconds at most. What shims have not sent yet goes to the newer bridge.
    pub(crate) async fn drain_sessions(&self) {
        tracing::info!("making room for a newer bridge");
        let mut changes = self.changes();
        let mut pending_sessions = self.pending_sessions.subscribe();
        self.yielding.cancel();
        let gone = async {
            while self.sessions().values().any(ListedSession::is_shim) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
            let _ = pending_sessions
                .wait_for(|pending_sessions| *pending_sessions == 0)
                .await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(10), gone).await;
    }

    /// Waits until every task has ended and no token is being renewed, [`SHUTDOWN_TIMEOUT`] at most.
    pub(crate) async fn end(self: &Arc<Self>) {
        self.shutdown.cancel();
        self.tasks.close();
        let tasks = async {
            let _ = tokio::time::timeout(TASK_TIMEOUT, self.tasks.wait()).await;
            let bridge = Arc::clone(self);
            let saved = threads::aside(move || bridge.registry.save());
            let saved = tokio::time::timeout(REFRESH_TIMEOUT, saved);
            let settled = tokio::time::timeout(REFRESH_TIMEOUT, self.identity.settled());
            let (saved, settled) = tokio::join!(saved, settled);
            if saved.is_err() {
                tracing::warn!("the bridge ends before what was seen of servers is written");
            }
            if settled.is_err() {
                tracing::warn!("the bridge ends during a renewal; a sign-in may be lost");
            }
        };
        tokio::join!(self.server_mode.stop(self), tasks);
    }
}

/// How requests of the management API name an account.
pub(crate) fn account_id(key: &AccountKey) -> String {
    format!("{}#{}", key.issuer, key.subject)
}

/// Reads what is kept before it is needed, and shows it. Where nothing is kept yet, finds out
/// whether something could be.
async fn open_vault(bridge: Arc<BridgeState>) {
    bridge.identity.accounts().await;
    bridge.probe_vault().await;
    bridge.changed();
}

async fn end_when_idle(bridge: Arc<BridgeState>, after: Duration) {
    let mut changes = bridge.changes();
    loop {
        let rested = async {
            if bridge.is_idle() {
                tokio::time::sleep(after).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = rested => break,
            changed = changes.changed() => if changed.is_err() { return },
            () = bridge.shutdown.cancelled() => return,
        }
    }
    tracing::info!("nobody needs the bridge, it ends");
    bridge.shutdown.cancel();
}

/// Stores tokens that could not be stored at once, and shows that there are such.
async fn keep_tokens_stored(bridge: Arc<BridgeState>) {
    let mut changes = bridge.identity.vault_changes();
    let shown = async {
        while changes.changed().await.is_ok() {
            bridge.changed();
        }
    };
    let stored = async { tokio::join!(bridge.identity.store_unsaved(), shown) };
    bridge.shutdown.run_until_cancelled(stored).await;
}

/// Passes on that somebody has signed in, even where the sign-in was cancelled just before.
async fn follow_sign_ins(bridge: Arc<BridgeState>, mut sign_ins: watch::Receiver<()>) {
    let following = async {
        while sign_ins.changed().await.is_ok() {
            bridge.accounts_changed();
            bridge.changed();
        }
    };
    bridge.shutdown.run_until_cancelled(following).await;
}

/// After a sleep, no connection from before it is used again, and every session looks to its own.
async fn watch_for_sleep(bridge: Arc<BridgeState>) {
    let watching = sleep_detector::watch(&bridge.options.clock, || {
        bridge.client.forget_connections();
        bridge.resumes.send_replace(());
    });
    bridge.shutdown.run_until_cancelled(watching).await;
}

/// Writes down what is seen of servers, on another thread. What changes within [`SAVE_INTERVAL`]
/// is written once; [`BridgeState::end`] writes the rest.
async fn save_caches(bridge: Arc<BridgeState>) {
    let saving = async {
        loop {
            bridge.registry.due().await;
            tokio::time::sleep(SAVE_INTERVAL).await;
            let bridge = Arc::clone(&bridge);
            threads::aside(move || bridge.registry.save()).await;
        }
    };
    bridge.shutdown.run_until_cancelled(saving).await;
}

/// A client of the management API that is connected.
#[derive(Debug)]
pub(crate) struct ClientGuard {
    bridge: Arc<BridgeState>,
    desktop: bool,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.bridge.clients.fetch_sub(1, Ordering::Relaxed);
        self.bridge
            .desktops
            .fetch_sub(usize::from(self.desktop), Ordering::Relaxed);
        self.bridge.changed();
    }
}

/// A session owes its host something.
#[derive(Debug)]
pub(crate) struct PendingGuard(Arc<BridgeState>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0
            .pending_sessions
            .send_modify(|pending_sessions| *pending_sessions -= 1);
    }
}

/// A session that the hub knows.
#[derive(Debug)]
pub(crate) struct SessionGuard {
    bridge: Arc<BridgeState>,
    id: u32,
    is_listed: bool,
}

impl SessionGuard {
    /// Whether the session is of a kind that is listed.
    pub(crate) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The host has said who it is.
    pub(crate) fn set_host(&self, name: &str) {
        if let Some(session) = self.bridge.sessions().get_mut(&self.id) {
            session.set_host(name);
        }
        self.bridge.changed();
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.bridge.sessions().remove(&self.id);
        self.bridge.changed();
    }
}
