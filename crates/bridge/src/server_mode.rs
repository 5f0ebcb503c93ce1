//! Server mode: runs the bundled gateway as a child of the bridge.
//!
//! Owns: its first configuration, its process, and its state. Does not own: anything the gateway
//! does.

mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::Home;
use control::api::{Problem, ProblemKind, ServerModeForm, ServerModeState};
use model::config::gateway::GatewayConfig;
use tokio_util::sync::CancellationToken;

use crate::background::Background;
use crate::config_file;
use crate::notifications::Notifications;
use process::GatewayFiles;

/// How long the gateway may take to respond, and to exit.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Server mode of one bridge. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ServerMode(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    home: Home,
    /// The program that runs as the gateway.
    program: PathBuf,
    inner: Mutex<Inner>,
    notifications: Notifications,
    background: Background,
}

#[derive(Debug)]
struct Inner {
    state: ServerModeState,
    /// Ends the running child.
    stop: Option<CancellationToken>,
}

impl ServerMode {
    pub(crate) fn new(
        home: Home,
        program: PathBuf,
        notifications: Notifications,
        background: Background,
    ) -> Self {
        Self(Arc::new(Shared {
            home,
            program,
            inner: Mutex::new(Inner {
                state: ServerModeState::Unconfigured,
                stop: None,
            }),
            notifications,
            background,
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> GatewayFiles {
        GatewayFiles::in_home(&self.0.home)
    }

    pub(crate) fn state(&self) -> ServerModeState {
        self.inner().state.clone()
    }

    fn set(&self, state: ServerModeState) {
        self.inner().state = state;
        self.0.notifications.state_changed();
    }

    /// Restores the state of the last run. Starts the gateway if the last bridge was replaced or
    /// killed while it ran.
    pub(crate) fn restore(&self) {
        if !self.0.home.gateway_file().exists() {
            return;
        }
        self.inner().state = ServerModeState::Off;
        if self.files().was_on() {
            self.begin();
        }
    }

    /// Writes the first `gateway.toml`, and the client secret next to it.
    pub(crate) fn configure(&self, form: &ServerModeForm) -> Result<(), Problem> {
        let file = self.0.home.gateway_file();
        if file.exists() {
            let text = format!("{} is there already", file.display());
            return Err(Problem::new(ProblemKind::Invalid, text)
                .with_hint("edit that file, or remove it first"));
        }
        let secret_file = file.with_file_name("entra-client-secret");
        let text = first_config(form, &secret_file);
        GatewayConfig::parse(&text)
            .map_err(|error| Problem::from_text(ProblemKind::Invalid, &error.to_string()))?;
        let written = threads::blocking(|| {
            write_private(&secret_file, form.client_secret.expose())?;
            config_file::write(&file, &text)
        });
        written.map_err(|error| {
            Problem::new(
                ProblemKind::Failed,
                format!("{} cannot be written: {error}", file.display()),
            )
        })?;
        self.set(ServerModeState::Off);
        Ok(())
    }

    /// Starts the gateway and waits until it responds.
    pub(crate) async fn start(&self) -> Result<(), Problem> {
        let mut changes = self.0.notifications.state_changes();
        let mut begun = self.begin();
        loop {
            match (self.state(), begun) {
                (ServerModeState::Running { .. }, true) => return Ok(()),
                (ServerModeState::Failed { problem }, true) => return Err(problem),
                (ServerModeState::Off | ServerModeState::Unconfigured, true) => {
                    return Err(Problem::new(ProblemKind::Failed, "the start was cancelled"));
                }
                (ServerModeState::Starting, _) | (_, false) => {
                    let _ = changes.changed().await;
                }
            }
            // A gateway that is shutting down must exit first.
            begun = begun || self.begin();
        }
    }

    /// Starts the gateway unless it runs. Returns false while the last one shuts down.
    fn begin(&self) -> bool {
        let stop = CancellationToken::new();
        {
            let mut inner = self.inner();
            match inner.state {
                ServerModeState::Running { .. } | ServerModeState::Starting => {
                    return inner.stop.is_some();
                }
                ServerModeState::Unconfigured
                | ServerModeState::Off
                | ServerModeState::Failed { .. } => {}
            }
            inner.state = ServerModeState::Starting;
            inner.stop = Some(stop.clone());
        }
        self.0.notifications.state_changed();
        let mode = self.clone();
        self.0.background.spawn(async move {
            let last = mode.supervise(stop).await;
            mode.inner().stop = None;
            mode.set(last);
        });
        true
    }

    /// Ends the gateway on request of the user, also for later bridges.
    pub(crate) async fn turn_off(&self) {
        self.files().remember(false);
        self.stop().await;
    }

    /// Returns true if the gateway runs or is starting.
    pub(crate) fn is_on(&self) -> bool {
        matches!(
            self.inner().state,
            ServerModeState::Running { .. } | ServerModeState::Starting
        )
    }

    /// Ends the gateway, if it runs.
    pub(crate) async fn stop(&self) {
        let mut changes = self.0.notifications.state_changes();
        if let Some(stop) = self.inner().stop.take() {
            stop.cancel();
        }
        let ended = async {
            while self.is_on() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(TIMEOUT + TIMEOUT / 5, ended).await;
    }

    /// Runs one gateway process from start to exit. Returns the state after it.
    async fn supervise(&self, stop: CancellationToken) -> ServerModeState {
        let files = self.files();
        let started = async {
            let config = files.config()?;
            files.wait_for_port(config.listen).await?;
            Ok((config, files.start(&self.0.program)?))
        };
        let (config, mut process) = tokio::select! {
            started = started => match started {
                Ok(started) => started,
                Err(problem) => return ServerModeState::Failed { problem },
            },
            () = stop.cancelled() => return ServerModeState::Off,
        };
        let answers = process::until_ready(&config);
        let answered = tokio::select! {
            answered = tokio::time::timeout(TIMEOUT, answers) => answered.is_ok(),
            problem = process.ended() => return ServerModeState::Failed { problem },
            () = stop.cancelled() => false,
        };
        if answered {
            self.files().remember(true);
            let (url, pid) = (config.public_url.to_string(), process.pid());
            self.set(ServerModeState::Running { url, pid });
            tokio::select! {
                problem = process.ended() => {
                    tracing::error!(%problem, "the gateway ended by itself");
                    return ServerModeState::Failed { problem };
                }
                () = stop.cancelled() => {}
            }
        }
        process.end().await;
        if answered || stop.is_cancelled() {
            return ServerModeState::Off;
        }
        let text = format!("the gateway does not answer at {}", config.listen);
        let problem = Problem::new(ProblemKind::Failed, text).with_hint("check gateway.log");
        ServerModeState::Failed { problem }
    }
}

fn first_config(form: &ServerModeForm, secret_file: &Path) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!(
        "version = 1\n\
         public_url = \"http://127.0.0.1:{port}\"\n\
         listen = \"127.0.0.1:{port}\"\n\
         root_server = {server}\n\
         \n\
         [entra]\n\
         authority = {authority}\n\
         client_id = {client_id}\n\
         client_secret = \"{{{{entra-client-secret}}}}\"\n\
         \n\
         [secrets]\n\
         entra-client-secret = {{ file = {secret_file} }}\n\
         \n\
         [servers.{server}]\n\
         url = {server_url}\n",
        port = form.port,
        server = quoted(&form.server),
        authority = quoted(&form.authority),
        client_id = quoted(&form.client_id),
        secret_file = quoted(&secret_file.display().to_string()),
        server_url = quoted(&form.server_url),
    )
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // A temporary file is private from the start, and a rename keeps that.
    config_file::write(path, text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use control::api::ServerModeForm;
    use model::config::gateway::GatewayConfig;

    #[test]
    fn server_mode_form_makes_valid_gateway_config() {
        let form = ServerModeForm {
            port: 4180,
            authority: "https://login.microsoftonline.com/t/v2.0".to_owned(),
            client_id: "id\" = 1".to_owned(),
            client_secret: "hush".into(),
            server: "snippets".to_owned(),
            server_url: "http://127.0.0.1:9/mcp".to_owned(),
        };
        let text = super::first_config(&form, Path::new("/x/secret"));
        let config = GatewayConfig::parse(&text).unwrap();
        assert_eq!(config.entra.client_id, form.client_id);
        assert_eq!(config.listen.port(), 4180);
        assert!(!text.contains("hush"));
    }
}
