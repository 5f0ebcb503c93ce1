//! Starts and ends the gateway's process.
//!
//! The gateway exits when its stdin ends, so it never outlives its bridge, however that ends.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use control::Home;
use control::api::{Problem, ProblemKind};
use model::config::Proxy;
use model::config::gateway::GatewayConfig;
use tokio::process::{Child, ChildStdin, Command};

use super::TIMEOUT;

/// How often a condition that should hold soon is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The files that a gateway process uses and leaves behind.
pub(super) struct GatewayFiles {
    config_file: PathBuf,
    data_dir: PathBuf,
}

/// A running gateway process.
pub(super) struct Process {
    child: Child,
    /// Separate from the child, whose `wait` would close it.
    stdin: Option<ChildStdin>,
    files: GatewayFiles,
}

impl GatewayFiles {
    pub(super) fn in_home(home: &Home) -> Self {
        Self {
            config_file: home.gateway_file(),
            data_dir: home.gateway_dir(),
        }
    }

    pub(super) fn config(&self) -> Result<GatewayConfig, Problem> {
        let file = self.config_file.display();
        let text = std::fs::read_to_string(&self.config_file).map_err(|error| {
            Problem::new(
                ProblemKind::Failed,
                format!("{file} cannot be read: {error}"),
            )
            .with_hint("fill in the form of server mode")
        })?;
        GatewayConfig::parse(&text)
            .map_err(|error| Problem::from_text(ProblemKind::Invalid, &format!("{file}: {error}")))
    }

    pub(super) fn start(self, program: &Path) -> Result<Process, Problem> {
        let failed = |what: String, error: io::Error| {
            Problem::new(ProblemKind::Failed, format!("{what}: {error}"))
        };
        let (stdout, stderr) = open_log(&self.log()).map_err(|error| {
            failed(format!("{} cannot be written", self.log().display()), error)
        })?;
        let mut child = Command::new(program)
            .arg("gateway")
            .arg("--config")
            .arg(&self.config_file)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                failed(format!("{} cannot be started", program.display()), error)
                    .with_hint("install Postern again")
            })?;
        Ok(Process {
            stdin: child.stdin.take(),
            child,
            files: self,
        })
    }

    /// Waits until the gateway's address is free: the gateway of the last bridge may still be
    /// shutting down.
    pub(super) async fn wait_for_port(&self, address: SocketAddr) -> Result<(), Problem> {
        let freed = async {
            while !is_free(address) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let limit = if self.was_on() {
            TIMEOUT
        } else {
            Duration::ZERO
        };
        tokio::time::timeout(limit, freed).await.map_err(|_| {
            let text = format!("{address} is in use by another program");
            Problem::new(ProblemKind::InUse, text).with_hint(format!(
                "end that program, or set another `listen` in {}",
                self.config_file.display()
            ))
        })
    }

    /// Returns true if server mode was on when the last bridge ended.
    pub(super) fn was_on(&self) -> bool {
        self.on_file().exists()
    }

    /// Records for the next bridge whether server mode is on.
    pub(super) fn remember(&self, on: bool) {
        let file = self.on_file();
        let done = match on {
            true => std::fs::create_dir_all(&self.data_dir).and_then(|()| std::fs::write(file, "")),
            false => std::fs::remove_file(file),
        };
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the state of server mode cannot be written");
        }
    }

    fn log(&self) -> PathBuf {
        self.data_dir.join("gateway.log")
    }

    fn on_file(&self) -> PathBuf {
        self.data_dir.join("server-mode.on")
    }
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until the process exits by itself. Returns the end of its log.
    pub(super) async fn ended(&mut self) -> Problem {
        let _ = self.child.wait().await;
        let log = self.files.log();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().rev().take(4).collect();
        lines.reverse();
        match lines.join("\n").trim() {
            "" => Problem::new(
                ProblemKind::Failed,
                "the gateway exited without an error message",
            ),
            words => Problem::from_text(ProblemKind::Failed, words),
        }
    }

    /// Asks the process to exit. Kills it after a timeout.
    pub(super) async fn end(mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            let _ = self.child.kill().await;
        }
    }
}

fn is_free(address: SocketAddr) -> bool {
    std::net::TcpListener::bind(address).is_ok()
}

/// Waits until the gateway responds.
pub(super) async fn until_ready(config: &GatewayConfig) {
    let ready = format!("http://{}/readyz", config.listen);
    let host = config.public_url.url().authority();
    let Ok(client) = auth::http::client([], &Proxy::None) else {
        return;
    };
    loop {
        let answered = client.get(&ready).header("host", host).send().await;
        if answered.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Creates a new log for stdout and stderr of the gateway.
fn open_log(path: &Path) -> io::Result<(Stdio, Stdio)> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let log = std::fs::File::create(path)?;
    Ok((log.try_clone()?.into(), log.into()))
}
