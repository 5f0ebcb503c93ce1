//! The configuration in force, and the servers that it names.
//!
//! Owns: when the file is read, what follows from its content, and one change at a time. Does not
//! own: the format of the file (`config_file`), and what is known of a server (`registry`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use auth::{ConfiguredServer, Identity, Target};
use control::api::{Problem, ProblemKind};
use model::ServerName;
use model::config::{BridgeConfig, BridgeSettings};

use crate::config_file::{self, ConfigError};
use crate::notifications::Notifications;
use crate::outbound::read_ca_files;
use crate::registry::{Registry, Server};

/// How long the change of a server's cache waits before it is written. A crash loses at most a
/// second, and a server whose lists change constantly costs one write a second.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration of one bridge.
pub(crate) struct ConfigStore {
    path: PathBuf,
    registry: Arc<Registry>,
    /// Is told which servers are configured.
    identity: Identity,
    notifications: Notifications,
    in_force: Mutex<InForce>,
    /// Locked while the file is changed.
    editing: Mutex<()>,
}

impl std::fmt::Debug for ConfigStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct InForce {
    settings: BridgeSettings,
    problem: Option<Problem>,
    /// Whether the file was ever read. The defaults are in force until then.
    was_read: bool,
    /// The file's time stamp and length when it was read.
    read_at: Option<(SystemTime, u64)>,
}

impl ConfigStore {
    /// Creates a store with the defaults. [`Self::reload`] reads the file.
    pub(crate) fn new(
        path: PathBuf,
        registry: Registry,
        identity: Identity,
        notifications: Notifications,
    ) -> Self {
        Self {
            path,
            registry: Arc::new(registry),
            identity,
            notifications,
            in_force: Mutex::new(InForce {
                settings: BridgeSettings::default(),
                problem: None,
                was_read: false,
                read_at: None,
            }),
            editing: Mutex::new(()),
        }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn settings(&self) -> BridgeSettings {
        self.in_force().settings.clone()
    }

    /// Returns what is wrong with the configuration.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.in_force().problem.clone()
    }

    /// Returns all servers, also those that a host named by URL.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Reads the configuration again if the file changed. Runs whenever a client connects or sends
    /// a request, so it needs no timer. An invalid file leaves the last valid configuration in
    /// force.
    pub(crate) fn reload(&self, force: bool) {
        let stamp = std::fs::metadata(&self.path)
            .and_then(|data| Ok((data.modified()?, data.len())))
            .ok();
        let mut in_force = self.in_force();
        if !force && in_force.read_at == stamp {
            return;
        }
        in_force.read_at = stamp;
        match config_file::read(&self.path) {
            Ok(config) => {
                in_force.settings = config.bridge.clone();
                in_force.was_read = true;
                in_force.problem = self.ca_file_problem(&config);
                self.registry.configure(&config);
            }
            Err(error) => in_force.problem = Some(invalid(&error, in_force.was_read)),
        }
        drop(in_force);
        self.announce_servers();
        self.notifications.state_changed();
    }

    /// Changes the configuration and applies it. Runs one change at a time.
    ///
    /// # Errors
    /// Returns a problem if the file cannot be changed. Nothing has changed then.
    pub(crate) fn edit(
        &self,
        edit: impl FnOnce(&Path) -> Result<(), ConfigError>,
    ) -> Result<(), Problem> {
        let edited = threads::blocking(|| {
            let _editing = self.editing.lock();
            edit(&self.path)
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
    pub(crate) fn forget_ephemeral(&self, name: &ServerName) -> bool {
        let is_forgotten = self.registry.forget_ephemeral(name);
        if is_forgotten {
            self.announce_servers();
            self.notifications.state_changed();
        }
        is_forgotten
    }

    /// Writes the caches of servers on another thread. Changes within [`SAVE_INTERVAL`] are written
    /// once. Never returns.
    pub(crate) async fn save_caches_when_due(&self) {
        loop {
            self.registry.due().await;
            tokio::time::sleep(SAVE_INTERVAL).await;
            self.save_caches().await;
        }
    }

    /// Writes the caches of servers that are due, on another thread.
    pub(crate) async fn save_caches(&self) {
        let registry = Arc::clone(&self.registry);
        threads::run_blocking(move || registry.save()).await;
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

    /// Returns a problem if a file of trusted certificates cannot be used.
    fn ca_file_problem(&self, config: &BridgeConfig) -> Option<Problem> {
        let error = read_ca_files(&config.bridge.extra_ca_files).err()?;
        let text = format!("{}: extra_ca_files: {error}", self.path.display());
        tracing::error!(error = text, "not every certificate is trusted");
        let hint = "name PEM files of certificates, then restart the bridge: `postern bridge --replace --detach`";
        Some(Problem::new(ProblemKind::Invalid, &text).with_hint(hint))
    }

    /// Replaces `NotFound` by the problem of the configuration, if it has one: the server may be in
    /// the file that cannot be read.
    fn or_config_problem(
        &self,
        found: Result<Arc<Server>, Problem>,
    ) -> Result<Arc<Server>, Problem> {
        found.map_err(|problem| {
            let is_missing = problem.kind == ProblemKind::NotFound;
            let why = self.problem().filter(|_| is_missing);
            why.unwrap_or(problem)
        })
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs and returns the problem of a file that cannot be used.
fn invalid(error: &ConfigError, was_read: bool) -> Problem {
    let in_force = match was_read {
        true => "the last good configuration stays in force",
        false => "no server is known until it is corrected",
    };
    tracing::error!(%error, "{in_force}");
    Problem::from_text(ProblemKind::Invalid, &error.to_string())
}
