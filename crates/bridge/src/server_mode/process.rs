//! The gateway's process: how it is started, known again and ended.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use control::Home;
use control::api::{Problem, ProblemKind};
use model::config::gateway::GatewayConfig;
use tokio::process::{Child, Command};

use super::LIMIT;

/// How often something that must come soon is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What a process of the gateway is started with and leaves behind.
pub(super) struct Place {
    config_file: PathBuf,
    data_dir: PathBuf,
}

/// A process that was started.
pub(super) struct Process {
    child: Child,
    pid: u32,
    place: Place,
}

impl Place {
    pub(super) fn of(home: &Home) -> Self {
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
        let child = Command::new(program)
            .arg("gateway")
            .arg("--config")
            .arg(&self.config_file)
            .arg("--data-dir")
            .arg(&self.data_dir)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                failed(format!("{} cannot be started", program.display()), error)
                    .with_hint("install Postern again")
            })?;
        let pid = child.id().unwrap_or_default();
        if let Err(error) = std::fs::write(self.pid_file(), pid.to_string()) {
            tracing::warn!(%error, "the gateway's process is not written down");
        }
        Ok(Process {
            child,
            pid,
            place: self,
        })
    }

    /// Makes sure that the gateway gets its address: one that outlived its bridge is ended.
    pub(super) async fn clear(&self, address: SocketAddr) -> Result<(), Problem> {
        if let Some(pid) = self.leftover() {
            tracing::warn!(pid, "a gateway has outlived its bridge; it is ended");
            terminate(pid);
        } else if is_free(address) {
            return Ok(());
        }
        let freed = async {
            while self.leftover().is_some() || !is_free(address) {
                tokio::time::sleep(LOOK).await;
            }
        };
        // What was just ended may take a moment to let go.
        tokio::time::timeout(LIMIT / 5, freed).await.map_err(|_| {
            let text = format!("{address} is taken by another program");
            Problem::new(ProblemKind::InUse, text).with_hint(format!(
                "end that program, or set another `listen` in {}",
                self.config_file.display()
            ))
        })
    }

    /// A gateway of this place that a bridge started and did not live to end.
    pub(super) fn leftover(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.pid_file()).ok()?;
        let pid: u32 = text.trim().parse().ok().filter(|pid| *pid > 1)?;
        let arguments = arguments_of(pid)?;
        let is_ours = arguments.contains("gateway")
            && arguments.contains(&self.config_file.display().to_string());
        is_ours.then_some(pid)
    }

    fn log(&self) -> PathBuf {
        self.data_dir.join("gateway.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.data_dir.join("gateway.pid")
    }
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the process has ended by itself, and returns what it said last.
    pub(super) async fn ended(&mut self) -> Problem {
        let _ = self.child.wait().await;
        self.forget();
        let log = self.place.log();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().rev().take(4).collect();
        lines.reverse();
        match lines.join("\n").trim() {
            "" => Problem::new(ProblemKind::Failed, "the gateway ended without a word"),
            words => Problem::from_text(ProblemKind::Failed, words),
        }
    }

    /// Asks the process to end, and makes it after a while.
    pub(super) async fn end(mut self) {
        terminate(self.pid);
        let asked = cfg!(unix);
        let has_ended = asked && tokio::time::timeout(LIMIT, self.child.wait()).await.is_ok();
        if !has_ended {
            let _ = self.child.kill().await;
        }
        self.forget();
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(self.place.pid_file());
    }
}

#[cfg(unix)]
fn terminate(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_pid: u32) {}

#[cfg(target_os = "linux")]
fn arguments_of(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // That of a process that has ended and is not waited for is empty.
    Some(String::from_utf8_lossy(&bytes).replace('\0', " ")).filter(|text| !text.is_empty())
}

#[cfg(all(unix, not(target_os = "linux")))]
fn arguments_of(pid: u32) -> Option<String> {
    let shown = std::process::Command::new("/bin/ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[cfg(not(unix))]
fn arguments_of(_pid: u32) -> Option<String> {
    None
}

fn is_free(address: SocketAddr) -> bool {
    std::net::TcpListener::bind(address).is_ok()
}

/// Waits until the gateway answers.
pub(super) async fn until_it_answers(config: &GatewayConfig) {
    let health = format!("http://{}/healthz", config.listen);
    let host = config.public_url.url().authority();
    let Ok(client) = auth::http::client([]) else {
        return;
    };
    loop {
        let answered = client.get(&health).header("host", host).send().await;
        if answered.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A new log for the gateway, for both of its streams.
fn open_log(path: &Path) -> io::Result<(Stdio, Stdio)> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let log = std::fs::File::create(path)?;
    Ok((log.try_clone()?.into(), log.into()))
}
