//! An installation in a temporary folder.

use std::path::Path;
use std::process::{Output, Stdio};

use control::api::{Reply, Request, State};
use control::{CallError, Client, Home};
use tokio::process::Command;

use crate::host::set_host_environment;

pub(crate) struct Installation {
    folder: tempfile::TempDir,
    home: Home,
}

impl Installation {
    pub(crate) fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    /// Configures any free port, so that tests do not conflict.
    pub(crate) fn in_folder(folder: tempfile::TempDir) -> Self {
        let home = Home::under(folder.path()).unwrap();
        std::fs::create_dir_all(home.config_file().parent().unwrap()).unwrap();
        std::fs::write(home.config_file(), "[bridge]\nport = 0\n").unwrap();
        Self { folder, home }
    }

    /// Creates an installation without a configuration, as before the first use.
    pub(crate) fn unused() -> Self {
        let installation = Self::new();
        std::fs::remove_file(installation.home.config_file()).unwrap();
        installation
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Returns the command for this installation, as a script runs it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
        command.args(arguments).arg("--home").arg(self.folder());
        set_host_environment(&mut command, self.folder());
        command
            .env("POSTERN_VAULT", "file")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).output().await.unwrap())
    }

    pub(crate) async fn client(&self) -> Result<Client, CallError> {
        Client::connect(&self.home, env!("CARGO_PKG_VERSION"), false).await
    }

    pub(crate) async fn state(&self) -> State {
        match self
            .client()
            .await
            .unwrap()
            .call(&Request::Status)
            .await
            .unwrap()
        {
            Reply::State(state) => *state,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the bridge and waits until it has exited.
    pub(crate) async fn quit(&self) {
        let mut watch = self.client().await.unwrap().watch().await.unwrap();
        // The connection may end before the reply.
        let _ = self.client().await.unwrap().call(&Request::Quit).await;
        while watch.next().await.is_ok() {}
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // Failed tests leave their bridge running, and passed tests may.
        let home = self.home.clone();
        let end = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                if let Ok(mut client) =
                    Client::connect(&home, env!("CARGO_PKG_VERSION"), false).await
                {
                    let _ = client.call(&Request::Quit).await;
                }
            });
        });
        let _ = end.join();
    }
}

/// The output and exit code of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}
