//! The app as a process.

use std::process::{ExitStatus, Output, Stdio};

use tokio::process::{Child, Command};

use crate::session::Session;
use crate::within;

/// The running app. It stops when it is dropped.
pub(crate) struct App(Child);

impl App {
    pub(crate) fn start(session: &Session, arguments: &[&str]) -> Self {
        let child = command(session, arguments)
            .stderr(session.log())
            .spawn()
            .expect("the app starts");
        Self(child)
    }

    /// Runs the app and waits until it exits.
    pub(crate) async fn run_to_end(session: &Session, arguments: &[&str]) -> Output {
        let output = command(session, arguments).stderr(Stdio::piped()).output();
        within("the app's end", output)
            .await
            .expect("the app starts")
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a process of ours").is_none()
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the app's end", self.0.wait())
            .await
            .expect("a process of ours")
    }
}

/// The app without a `postern` beside it or in PATH, so that only the fake bridge exists.
fn command(session: &Session, arguments: &[&str]) -> Command {
    let mut command = Command::new(session.program());
    command
        .args(arguments)
        .arg("--home")
        .arg(session.home_folder())
        .env_clear()
        .envs(session.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}
