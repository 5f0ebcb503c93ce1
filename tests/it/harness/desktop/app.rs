//! The desktop app as a process of its own.

use std::process::ExitStatus;

use tokio::process::{Child, Command};

use super::{
    super::{bridge::Bridge, free_port, program, within},
    session::Session,
};

/// What its window is called.
pub(crate) const TITLE: &str = "Postern";

/// The app. It ends with this value.
pub(crate) struct App {
    process: Child,
    /// Where its window can be looked into.
    pub(super) inspector: u16,
}

impl App {
    /// Starts it, with a window unless `--hidden` is among the arguments.
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

    /// Starts it once more while it runs, as a second click on its icon does, and waits for the
    /// end of that second start.
    pub(crate) async fn start_again(&self, session: &Session, bridge: &Bridge) {
        let mut second = session.spawn(&mut command(session, bridge, &[]));
        let ended = within("the second start's end", second.wait()).await;
        assert!(ended.expect("an end").success());
    }

    /// Ends it at once, as `kill -9` does, and returns when it is gone.
    pub(crate) async fn kill(mut self) {
        within("its end", self.process.kill())
            .await
            .expect("an app that ran");
    }

    /// Waits for it to end by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        within("the app's end", self.process.wait())
            .await
            .expect("an end")
    }

    /// Whether it runs.
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
