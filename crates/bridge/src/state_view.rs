//! The state of the bridge, as the management API shows it.
//!
//! Does not own: any of the state.

use std::io;
use std::sync::{Arc, Weak};

use auth::{Account, Identity};
use control::api::{AccountState, AccountView, BridgeView, Reply, ServerState, ServerView, State};
use control::{ControlResponse, hello};
use threads::run_blocking;
use tokio::sync::{Mutex, watch};

use crate::account_id::account_id;
use crate::config_store::ConfigStore;
use crate::endpoint::Addresses;
use crate::notifications::Notifications;
use crate::pending_sign_ins::SignIns;
use crate::registry::Server;
use crate::server_mode::ServerMode;
use crate::session_registry::SessionRegistry;
use crate::vault_status::VaultStatus;

/// Builds the state.
pub(crate) struct StateView {
    sources: Arc<StateSources>,
    line: Mutex<CachedLine>,
}

/// What the state is built from.
pub(crate) struct StateSources {
    pub(crate) version: String,
    pub(crate) identity: Identity,
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) vault: VaultStatus,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) server_mode: ServerMode,
}

/// The state as sent to the clients that watch it. It is built once for all of them after each
/// change.
#[derive(Debug)]
struct CachedLine {
    /// Has changed if the state changed since `line` was built.
    changes: watch::Receiver<()>,
    /// Owned by the clients that received it.
    line: Weak<Vec<u8>>,
}

impl StateView {
    pub(crate) fn new(sources: StateSources, notifications: &Notifications) -> Self {
        let line = CachedLine {
            changes: notifications.state_changes(),
            line: Weak::new(),
        };
        Self {
            sources: Arc::new(sources),
            line: Mutex::new(line),
        }
    }

    /// Returns the whole state.
    pub(crate) async fn state(&self) -> State {
        let accounts = self.sources.vault.accounts().await;
        let sources = Arc::clone(&self.sources);
        run_blocking(move || sources.view(&accounts)).await
    }

    /// Returns the state as a line for a watching client, no older than the call.
    ///
    /// # Errors
    /// Fails if the state cannot be serialised.
    pub(crate) async fn line(&self) -> io::Result<Arc<Vec<u8>>> {
        let mut built = self.line.lock().await;
        // A change during the build may be missing in it.
        let has_changed = built.changes.has_changed().unwrap_or(true);
        built.changes.mark_unchanged();
        if !has_changed && let Some(line) = built.line.upgrade() {
            return Ok(line);
        }
        built.line = Weak::new();
        let accounts = self.sources.vault.accounts().await;
        let sources = Arc::clone(&self.sources);
        let line = run_blocking(move || {
            let state = Reply::State(Box::new(sources.view(&accounts)));
            hello::line(&ControlResponse::Ok(state))
        });
        let line = Arc::new(line.await?);
        built.line = Arc::downgrade(&line);
        Ok(line)
    }
}

impl StateSources {
    /// Builds the state. Reads every list of tools, so it must not run on the thread that relays
    /// messages.
    fn view(&self, accounts: &[Account]) -> State {
        let servers = self.config.registry().all();
        State {
            bridge: self.bridge_view(),
            accounts: accounts
                .iter()
                .map(|account| self.account_view(account, &servers))
                .collect(),
            servers: servers
                .iter()
                .map(|server| self.server_view(server))
                .collect(),
            sessions: self.sessions.views(),
            sign_ins: self.sign_ins.views(),
            server_mode: self.server_mode.state(),
        }
    }

    fn bridge_view(&self) -> BridgeView {
        let http = self.addresses.http();
        let port_problem = || self.addresses.port_problem(self.config.settings().port);
        BridgeView {
            version: self.version.clone(),
            pid: std::process::id(),
            http: http.as_ref().ok().cloned(),
            socket: self.addresses.socket().map(str::to_owned),
            http_problem: http.err().or_else(port_problem),
            config_file: self.config.path().display().to_string(),
            config_problem: self.config.problem(),
            vault: self.vault.view(),
        }
    }

    fn account_view(&self, account: &Account, servers: &[Arc<Server>]) -> AccountView {
        let lost = self.is_lost(account, servers);
        AccountView {
            id: account_id(&account.key),
            issuer: account.key.issuer.to_string(),
            name: account.name.clone(),
            username: account.username.clone(),
            state: if lost {
                AccountState::SignInNeeded
            } else {
                AccountState::SignedIn
            },
        }
    }

    /// Returns true if the account has to sign in again. One server that rejects its tokens does
    /// not count while others accept them.
    fn is_lost(&self, account: &Account, servers: &[Arc<Server>]) -> bool {
        let opens = |server: &&Arc<Server>| {
            let owner = self.identity.account_for(&server.target());
            owner.is_some_and(|owner| owner.key == account.key)
        };
        let (waiting, others): (Vec<_>, Vec<_>) = servers
            .iter()
            .filter(opens)
            .partition(|server| server.state() == ServerState::SignInNeeded);
        let mut waiting = waiting.iter();
        match others.is_empty() {
            true => waiting.len() > 0,
            false => waiting.any(|server| self.identity.has_ended(&server.target())),
        }
    }

    fn server_view(&self, server: &Server) -> ServerView {
        let base = self.addresses.http().ok();
        let endpoint = |end: &str| {
            base.as_ref()
                .map(|base| format!("{base}/{}/{end}", server.name))
        };
        ServerView {
            name: server.name.to_string(),
            url: server.config.url.to_string(),
            endpoint: endpoint("mcp"),
            sse_endpoint: endpoint("sse"),
            socket_endpoint: self
                .addresses
                .socket()
                .map(|socket| format!("{socket}#/{}/mcp", server.name)),
            state: server.state(),
            sign_in_problem: server.sign_in_problem(),
            account: self
                .identity
                .account_for(&server.target())
                .map(|account| account_id(&account.key)),
            tools: server.tools(),
            ephemeral: server.ephemeral,
            headers: server.header_names(),
            foreign_scopes: self.identity.foreign_scopes(&server.target()),
        }
    }
}
