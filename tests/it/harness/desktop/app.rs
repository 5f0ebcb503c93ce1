//! The desktop app as a process of its own.

use std::process::ExitStatus;

use tokio::process::{Child, Command};

use super::{
    super::{bridge::Bridge, free_port, program, within},
    session::Session,
};

/// The title of its window.
pub(crate) const TITLE: &str = "Postern";

/// The app. It stops when it is dropped.
pub(crate) struct App {
    process: Child,
    /// The port of the window's inspector.
    pub(super) inspector: u16,
}

impl App {
    /// Starts the app, with a window unless `--hidden` is among the arguments.
    pub(super) async fn start(session: &Session, bridge: &Bridge, arguments: &[&str]) -> Self {
        let inspector = free_port().await;
        let mut command = command(session, bridge, arguments);
        command
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            .env("WEBKIT_INSPECTOR_SERVER", format!("127.0.0.1:{inspector}"));
        Self {
            process: session.spawn(&mut command),
            inspector,
        }
    }

    /// Starts the app once more while it runs, as a second click on its icon does, and waits for
    /// the exit of the second process.
    pub(crate) async fn start_again(&self, session: &Session, bridge: &Bridge) {
        let mut second = session.spawn(&mut command(session, bridge, &[]));
        let ended = within("the second start's end", second.wait()).await;
        assert!(ended.expect("an end").success());
    }

    /// Kills the app, as `kill -9` does, and returns once it is gone.
    pub(crate) async fn kill(mut self) {
        within("its end", self.process.kill())
            .await
            .expect("an app that ran");
    }

    /// Waits until the app exits by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        within("the app's end", self.process.wait())
            .await
            .expect("an end")
    }

    /// Returns true while the app runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().expect("its state").is_none()
    }
}

fn command(session: &Session, bridge: &Bridge, arguments: &[&str]) -> Command {
    let mut command = session.command(program::installed_desktop(bridge.root()));
    command
        .arg("--home")
        .arg(bridge.root())
        .args(arguments)
        .env("BROWSER", bridge.browser.program())
        .env("POSTERN_LOG", "trace");
    command
}
