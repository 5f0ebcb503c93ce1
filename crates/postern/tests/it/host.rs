//! A host that runs `postern connect` with the environment variables that the official SDKs pass on.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// A timeout far above what any test needs, so that tests fail instead of hanging.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    child: Child,
    stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    stdout: Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
}

/// Stdin and stdout of a process, and their other ends.
pub(crate) struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    to: Box<dyn AsyncWrite + Send + Unpin>,
    from: Box<dyn AsyncRead + Send + Unpin>,
}

impl Ends {
    /// Creates pipes, as most hosts do.
    pub(crate) fn pipes() -> Self {
        let (to, stdin) = pipe::pipe().unwrap();
        let (stdout, from) = pipe::pipe().unwrap();
        Self {
            stdin: stdin.into_blocking_fd().unwrap(),
            stdout: stdout.into_blocking_fd().unwrap(),
            to: Box::new(to),
            from: Box::new(from),
        }
    }

    /// Creates socket pairs, as hosts on Node.js do.
    pub(crate) fn sockets() -> Self {
        let pair = || {
            let (ours, its) = Socket::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (UnixStream::from_std(ours).unwrap(), its.into())
        };
        let ((to, stdin), (from, stdout)) = (pair(), pair());
        Self {
            stdin,
            stdout,
            to: Box::new(to),
            from: Box::new(from),
        }
    }

    /// Duplicates the process's descriptors, before it is spawned.
    pub(crate) fn descriptors(&self) -> [OwnedFd; 2] {
        [&self.stdin, &self.stdout].map(|end| end.try_clone().unwrap())
    }
}

impl Host {
    pub(crate) fn spawn(home: &Path, server: &str) -> Self {
        Self::over(Ends::pipes(), home, server)
    }

    pub(crate) fn over(ends: Ends, home: &Path, server: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(["connect", server, "--home"]).arg(home);
        set_host_environment(&mut command, home);
        command
            .process_group(0)
            .stdin(ends.stdin)
            .stdout(ends.stdout)
            .stderr(Stdio::piped());
        Self {
            child: command.kill_on_drop(true).spawn().unwrap(),
            stdin: Some(ends.to),
            stdout: Some(BufReader::new(ends.from)),
        }
    }

    pub(crate) async fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        stdin.flush().await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stdout.as_mut().unwrap().read_line(&mut line);
        tokio::time::timeout(TIMEOUT, read).await.unwrap().unwrap();
        line.pop().map(|_| line)
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    /// Kills the process and its group, as hosts do.
    pub(crate) async fn kill_group(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let group = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.wait().await;
    }

    /// Returns whether the process still runs after this time.
    pub(crate) async fn is_running_after(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.child.wait()).await.is_err()
    }

    pub(crate) async fn wait(&mut self) -> ExitStatus {
        tokio::time::timeout(TIMEOUT, self.child.wait())
            .await
            .unwrap()
            .unwrap()
    }

    /// Closes stdin and returns the remaining stdout, stderr and the exit status.
    pub(crate) async fn end(mut self) -> (String, String, ExitStatus) {
        self.close_stdin();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut errors = self.child.stderr.take().unwrap();
        let read = async {
            self.stdout
                .as_mut()
                .unwrap()
                .read_to_string(&mut stdout)
                .await
                .unwrap();
            errors.read_to_string(&mut stderr).await.unwrap();
        };
        tokio::time::timeout(TIMEOUT, read).await.unwrap();
        let status = self.wait().await;
        (stdout, stderr, status)
    }
}

/// Sets HOME, LOGNAME, PATH, SHELL, TERM and USER, which the official SDKs pass on.
pub(crate) fn set_host_environment(command: &mut Command, home: &Path) {
    command.env_clear();
    command
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh");
    command
        .env("LOGNAME", "user")
        .env("USER", "user")
        .env("TERM", "dumb");
}
