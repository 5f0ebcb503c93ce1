//! The screen as a user sees it: windows, keys, the pointer, screenshots.

use std::ffi::OsString;

use tokio::process::Command;

use super::{
    super::{until, within},
    panel,
    session::Session,
};

/// The screen's width in pixels.
pub(super) const WIDTH: u32 = 1280;

/// The screen of a session.
pub(crate) struct Screen {
    display: OsString,
    path: OsString,
}

impl Screen {
    pub(crate) fn of(session: &Session) -> Self {
        Self {
            display: session.variable("DISPLAY").clone(),
            path: session.variable("PATH").clone(),
        }
    }

    /// Waits for a window with this title and returns its id.
    pub(crate) async fn window(&self, title: &str) -> String {
        until(title, async || self.windows(title).await.pop()).await
    }

    /// Closes a window as a user does and waits until it is gone.
    pub(crate) async fn close(&self, title: &str) {
        let window = self.window(title).await;
        self.xdotool(&["windowactivate", "--sync", &window, "key", "alt+F4"])
            .await;
        self.until_closed(title).await;
    }

    /// Waits until no window has this title.
    pub(crate) async fn until_closed(&self, title: &str) {
        until(title, async || {
            self.windows(title).await.is_empty().then_some(())
        })
        .await;
    }

    /// Types a line into the focused window.
    pub(crate) async fn type_line(&self, text: &str) {
        self.xdotool(&["type", text]).await;
        self.xdotool(&["key", "Return"]).await;
    }

    /// Opens the menu of the only icon in the tray and waits until it is visible.
    pub(crate) async fn open_tray_menu(&self) {
        let before = self.windows(panel::WINDOWS).await.len();
        let (x, y) = (WIDTH - panel::HEIGHT / 2, panel::HEIGHT / 2);
        self.xdotool(&["mousemove", &x.to_string(), &y.to_string(), "click", "3"])
            .await;
        until("the menu of the tray", async || {
            let now = self.windows(panel::WINDOWS).await.len();
            (now > before).then_some(())
        })
        .await;
    }

    /// Returns the ids of the windows with this title.
    pub(crate) async fn windows(&self, title: &str) -> Vec<String> {
        let title = format!("^{title}$");
        let found = self
            .run("xdotool", &["search", "--onlyvisible", "--name", &title])
            .await;
        let found = String::from_utf8(found).expect("numbers");
        found.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the content of a window as a PNG, once it no longer changes.
    pub(crate) async fn window_picture(&self, window: &str) -> Vec<u8> {
        self.stable_picture(&["-window", window]).await
    }

    /// Returns the whole screen as a PNG, once it no longer changes.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.stable_picture(&["-window", "root"]).await
    }

    async fn stable_picture(&self, what: &[&str]) -> Vec<u8> {
        // Compares pixels, because a PNG contains the time of its creation.
        let pixels = [what, &["rgb:-"]].concat();
        let mut last = self.run("import", &pixels).await;
        until("a picture that stays", async || {
            let next = self.run("import", &pixels).await;
            let same = next == last;
            last = next;
            same.then_some(())
        })
        .await;
        self.run("import", &[what, &["png:-"]].concat()).await
    }

    async fn xdotool(&self, arguments: &[&str]) {
        self.run("xdotool", arguments).await;
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let run = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("DISPLAY", &self.display)
            .kill_on_drop(true)
            .output();
        let output = within(program, run).await;
        let output = output.unwrap_or_else(|error| {
            panic!("{program}: {error}; hint: `cargo xtask test` installs it")
        });
        output.stdout
    }
}
