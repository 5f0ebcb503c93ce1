//! Starting the bridge so that it outlives its launcher.
//!
//! Hosts kill the processes that they spawn, with their children. So a launcher (a shim, a command, the
//! desktop app) runs the intermediate process `postern bridge --detach`. That process leaves the
//! launcher's session, drops all inherited descriptors, runs `postern bridge --detached`, waits for its
//! [`Report`], passes it on as exit status and error text, and ends. Launchers do not poll, and if
//! several race, one bridge remains.
//!
//! Owns: the launcher's, the intermediate process's and the bridge's part of that. Does not own: the
//! command line, and the bridge itself.

mod snap;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::Home;
use crate::socket::{self, SocketKind};

/// How long a bridge may take from its start until it listens, including the end of an older one.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long another launcher's bridge may take to open its sockets after its start was noticed.
const SOCKETS_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval between attempts to connect to another launcher's bridge.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The options of a bridge to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// Exit after this time without sessions and clients, in whole seconds.
    pub idle_exit: Option<Duration>,
    /// Replace the running bridge if it is older.
    pub replace_older: bool,
}

/// Why the bridge was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be run.
    #[error(
        "{program} cannot be started: {reason}; hint: reinstall Postern, or start `postern bridge` manually"
    )]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The bridge reported why it cannot serve.
    #[error("{0}")]
    Refused(String),
    /// The bridge ended without a report.
    #[error("the bridge ended before it was ready; hint: {} may say why", .0.display())]
    Exited(PathBuf),
    /// The bridge does not listen in time.
    #[error("the bridge was not ready within {} seconds; hint: {} may say why", START_TIMEOUT.as_secs(), .0.display())]
    TimedOut(PathBuf),
}

/// Starts a bridge for `home` unless one runs, and returns when it listens.
///
/// # Errors
/// See [`StartError`]. Only [`StartError::TimedOut`] leaves a process running.
pub async fn ensure_running(
    home: &Home,
    program: &Path,
    options: &StartOptions,
) -> Result<(), StartError> {
    if !options.replace_older && listens(home).await {
        return Ok(());
    }
    let timed_out = || StartError::TimedOut(home.log_file());
    let work = async {
        loop {
            launch(home, program, arguments(home, options)).await?;
            if wait_for_sockets(home).await {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(START_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(timed_out()))
}

/// Replaces the running bridge for `home`, and kills it if it does not yield. Only for a user who asks
/// for that.
///
/// # Errors
/// See [`StartError`].
pub async fn replace_running(home: &Home, program: &Path) -> Result<(), StartError> {
    let mut arguments = arguments(home, &StartOptions::default());
    arguments.push("--replace=any".into());
    launch(home, program, arguments).await
}

/// Runs the intermediate process and waits for its end.
async fn launch(home: &Home, program: &Path, arguments: Vec<OsString>) -> Result<(), StartError> {
    let mut command = Command::new(program);
    command.args(arguments);
    let ran = tokio::task::spawn_blocking(move || system::run(&mut command)).await;
    let output = ran
        .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
        .map_err(|reason| StartError::Spawn {
            program: program.to_owned(),
            reason,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    match text.trim().trim_start_matches("error: ") {
        "" => Err(StartError::Exited(home.log_file())),
        text => Err(StartError::Refused(text.to_owned())),
    }
}

fn arguments(home: &Home, options: &StartOptions) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["bridge".into(), "--detach".into()];
    if let Some(root) = home.root() {
        arguments.extend(["--home".into(), root.into()]);
    }
    if let Some(idle) = options.idle_exit {
        arguments.extend(["--idle-exit".into(), idle.as_secs().to_string().into()]);
    }
    if options.replace_older {
        arguments.push("--replace=older".into());
    }
    arguments
}

/// Returns whether a bridge listens soon. Another launcher's bridge opens its sockets a moment after it
/// gets the lock, and a bridge that is shutting down closes them a moment before it releases the lock.
async fn wait_for_sockets(home: &Home) -> bool {
    let end = Instant::now() + SOCKETS_TIMEOUT;
    while Instant::now() < end {
        if listens(home).await {
            return true;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    false
}

async fn listens(home: &Home) -> bool {
    socket::connect(home, SocketKind::Control).await.is_ok()
}

/// The intermediate process: detaches from the launcher, and from the snap that it may be in, runs
/// `bridge`, and waits for its report. Blocks.
///
/// # Errors
/// The bridge's report, or why there is none.
pub fn detach(mut bridge: Command, log: &Path) -> Result<(), StartError> {
    system::detach();
    for (name, value) in snap::changes(std::env::vars_os()) {
        match value {
            Some(value) => bridge.env(name, value),
            None => bridge.env_remove(name),
        };
    }
    let pipe = system::spawn(&mut bridge).map_err(|reason| StartError::Spawn {
        program: bridge.get_program().into(),
        reason,
    })?;
    let mut report = String::new();
    // If the bridge dies, the pipe is closed, and the report is empty.
    let _ = BufReader::new(pipe).read_line(&mut report);
    match report.trim_end() {
        READY => Ok(()),
        "" => Err(StartError::Exited(log.to_owned())),
        refused => Err(StartError::Refused(refused.replace(LINE_BREAK, "\n"))),
    }
}

const READY: &str = "ready";

/// Represents a line break in a report, which is a single line.
const LINE_BREAK: char = '\u{2028}';

/// The report of a detached bridge to the intermediate process. It is written to stdout, which is a
/// pipe, and is connected to the null device afterwards.
#[derive(Debug)]
pub struct Report(());

impl Report {
    /// Leaves the session, and returns the pending report. Only for a process that [`detach`] started,
    /// at its start.
    #[must_use]
    pub fn open() -> Self {
        system::leave_session();
        Self(())
    }

    /// Reports that a bridge listens: this one, or another one that already has the sockets.
    pub fn ready(self) {
        send(READY);
    }

    /// Reports why the bridge cannot serve.
    pub fn failed(self, why: &str) {
        send(&why.trim().replace('\n', &LINE_BREAK.to_string()));
    }
}

fn send(line: &str) {
    let mut stdout = io::stdout().lock();
    // If the intermediate process has ended, the bridge goes on.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    drop(stdout);
    system::close_stdout();
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{StartError, StartOptions, arguments, ensure_running};
    use crate::Home;
    use crate::socket::Listener;

    #[test]
    fn bridge_gets_same_home() {
        let home = Home::under(Path::new("/h")).unwrap();
        let options = StartOptions {
            idle_exit: Some(Duration::from_secs(600)),
            replace_older: true,
        };
        let expected = [
            "bridge",
            "--detach",
            "--home",
            home.root().unwrap().to_str().unwrap(),
            "--idle-exit",
            "600",
            "--replace=older",
        ];
        assert_eq!(arguments(&home, &options), expected);
        let usual = Home::of_user().unwrap();
        assert_eq!(
            arguments(&usual, &StartOptions::default()),
            ["bridge", "--detach"]
        );
    }

    #[tokio::test]
    async fn listening_bridge_is_not_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let _bridge = Listener::bind(&home).unwrap();
        let missing = Path::new("/nonexistent/postern");
        ensure_running(&home, missing, &StartOptions::default())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let missing = Path::new("/nonexistent/postern");
        let error = ensure_running(&home, missing, &StartOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StartError::Spawn { program, .. } if program == missing),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn error_of_bridge_reaches_launcher() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let program = folder.path().join("program");
        std::fs::write(
            &program,
            "#!/bin/sh\necho 'error: no; hint: yes' >&2\nexit 1\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let error = ensure_running(&home, &program, &StartOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "no; hint: yes");
    }
}
