//! The views of the bridge's state.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use auth::Account;
use control::api::{
    AccountState, AccountView, BridgeView, Problem, ProblemKind, Reply, ServerState, ServerView,
    State, VaultState, VaultView,
};
use control::{ControlResponse, hello};
use threads::run_blocking;
use tokio::sync::{Mutex, watch};

use super::BridgeState;
use crate::VaultChoice;
use crate::account_id::account_id;
use crate::registry::Server;

/// The hint if there is no keychain.
const NO_KEYCHAIN: &str = "start a Secret Service such as gnome-keyring, or choose a key file: `POSTERN_VAULT=file postern bridge --replace --detach`";

/// How long reading the state waits for the keychain.
const KEYCHAIN_TIMEOUT: Duration = Duration::from_millis(300);

/// The state as sent to the clients that watch it. It is built once for all of them after each
/// change.
#[derive(Debug)]
pub(super) struct StateCache(Mutex<CachedLine>);

#[derive(Debug)]
struct CachedLine {
    /// Has changed if the state changed since `line` was built.
    changes: watch::Receiver<()>,
    /// Owned by the clients that received it.
    line: Weak<Vec<u8>>,
}

impl StateCache {
    pub(super) fn new(changes: watch::Receiver<()>) -> Self {
        let line = Weak::new();
        Self(Mutex::new(CachedLine { changes, line }))
    }
}

impl BridgeState {
    /// Returns the whole state.
    pub(crate) async fn state(self: &Arc<Self>) -> State {
        let accounts = self.accounts_to_show().await;
        let bridge = Arc::clone(self);
        run_blocking(move || bridge.view(&accounts)).await
    }

    /// Returns the state as a line for a watching client, no older than the call.
    ///
    /// # Errors
    /// Fails if the state cannot be serialised.
    pub(crate) async fn state_line(self: &Arc<Self>) -> io::Result<Arc<Vec<u8>>> {
        let mut built = self.state_cache.0.lock().await;
        // A change during the build may be missing in it.
        let has_changed = built.changes.has_changed().unwrap_or(true);
        built.changes.mark_unchanged();
        if !has_changed && let Some(line) = built.line.upgrade() {
            return Ok(line);
        }
        built.line = Weak::new();
        let accounts = self.accounts_to_show().await;
        let bridge = Arc::clone(self);
        let line = run_blocking(move || {
            let state = Reply::State(Box::new(bridge.view(&accounts)));
            hello::line(&ControlResponse::Ok(state))
        });
        let line = Arc::new(line.await?);
        built.line = Arc::downgrade(&line);
        Ok(line)
    }

    /// Returns the state of the vault. Reads the accounts first.
    pub(crate) async fn vault(&self) -> VaultView {
        self.accounts_to_show().await;
        vault_view(self.options.vault, &self.identity.vault_state())
    }

    async fn accounts_to_show(&self) -> Vec<Account> {
        let accounts = self.accounts_now().await;
        if self.has_vault_problem() {
            // The user may have started or unlocked the keychain.
            let _ = tokio::time::timeout(KEYCHAIN_TIMEOUT, self.probe_vault()).await;
        }
        accounts
    }

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

    /// Returns the accounts. Returns none while the keychain waits for the user, so that the state
    /// is shown at once.
    async fn accounts_now(&self) -> Vec<Account> {
        let known = tokio::time::timeout(KEYCHAIN_TIMEOUT, self.identity.accounts()).await;
        known.unwrap_or_default()
    }

    fn has_vault_problem(&self) -> bool {
        match self.identity.vault_state() {
            auth::VaultState::Locked | auth::VaultState::Absent { .. } => true,
            auth::VaultState::Unopened { .. }
            | auth::VaultState::Ready { .. }
            | auth::VaultState::Behind(_) => false,
        }
    }

    /// Checks whether there is a keychain, and logs a change.
    pub(crate) async fn probe_vault(&self) {
        let before = self.identity.vault_state();
        self.identity.probe_vault().await;
        let now = self.identity.vault_state();
        if now == before {
            return;
        }
        match &now {
            auth::VaultState::Absent { reason } => {
                tracing::warn!(
                    reason,
                    hint = NO_KEYCHAIN,
                    "there is no keychain, sign-ins cannot be kept"
                );
            }
            auth::VaultState::Locked => tracing::info!("the keychain is locked"),
            auth::VaultState::Unopened { .. }
            | auth::VaultState::Ready { .. }
            | auth::VaultState::Behind(_) => tracing::info!("the keychain can be used now"),
        }
        self.notifications.state_changed();
    }

    fn bridge_view(&self) -> BridgeView {
        let http = self.http();
        BridgeView {
            version: self.options.version.clone(),
            pid: std::process::id(),
            http: http.as_ref().ok().cloned(),
            socket: self.socket().map(str::to_owned),
            http_problem: http.err().or_else(|| self.port_problem()),
            config_file: self.config.path().display().to_string(),
            config_problem: self.config.problem(),
            vault: vault_view(self.options.vault, &self.identity.vault_state()),
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
        let base = self.http().ok();
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

fn vault_view(choice: VaultChoice, state: &auth::VaultState) -> VaultView {
    let (state, detail, hint) = match (state, choice) {
        (auth::VaultState::Locked, _) => (
            VaultState::Locked,
            "The keychain is locked. Unlock it, then try again.".to_owned(),
            Some("unlock the keychain, then try again".to_owned()),
        ),
        (auth::VaultState::Absent { reason }, _) => {
            let Problem { message, hint, .. } = Problem::from_text(ProblemKind::Vault, reason);
            (
                VaultState::Absent,
                format!("There is no keychain: {message}."),
                hint.or_else(|| Some(NO_KEYCHAIN.to_owned())),
            )
        }
        (auth::VaultState::Behind(unsaved), _) => behind(unsaved),
        (_, VaultChoice::Keychain) => (
            VaultState::Keychain,
            "Tokens are kept in files sealed with a key from the system's keychain.".to_owned(),
            None,
        ),
        (_, VaultChoice::File) => (
            VaultState::KeyFile,
            "Tokens are kept in files sealed with a key file, as POSTERN_VAULT=file asks. \
             Anyone who can read that file can read them."
                .to_owned(),
            None,
        ),
    };
    VaultView {
        state,
        detail,
        hint,
    }
}

/// Returns the state and the hint for tokens that are only in memory.
fn behind(unsaved: &auth::Unsaved) -> (VaultState, String, Option<String>) {
    let cause = match &unsaved.error {
        auth::VaultError::Io { path, reason } => Problem::new(
            ProblemKind::Vault,
            Problem::from_text(ProblemKind::Vault, reason).message,
        )
        .with_hint(format!(
            "free space on the disk of {}, or check who may write there",
            path.parent().unwrap_or(path).display()
        )),
        error => Problem::from_text(ProblemKind::Vault, &error.to_string()),
    };
    let (hours, minutes) = (unsaved.since / 3600 % 24, unsaved.since / 60 % 60);
    let detail = format!(
        "The newest tokens of {} cannot be stored since {hours:02}:{minutes:02} UTC: {}.",
        unsaved.accounts.join(", "),
        cause.message
    );
    let then = "Postern then stores them by itself; do not end the bridge before that";
    let hint = match cause.hint {
        Some(hint) => format!("{hint}; {then}"),
        None => then.to_owned(),
    };
    (VaultState::Behind, detail, Some(hint))
}
