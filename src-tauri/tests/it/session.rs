//! A desktop for one case: a screen, a session bus, a tray, a home. All of it stops when it is
//! dropped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use control::Home;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::screen::Screen;
use crate::tray::{TrayHost, TrayItem};
use crate::within;

pub(crate) struct Session {
    folder: TempDir,
    environment: BTreeMap<&'static str, String>,
    tray: Option<TrayHost>,
    _servers: Vec<Child>,
}

impl Session {
    /// Starts a session with a screen, a bus and a tray.
    pub(crate) async fn start() -> Self {
        Self::without_tray().await.with_tray().await
    }

    pub(crate) async fn without_tray() -> Self {
        let mut session = Self::without_screen();
        let (screen, display) = serve("Xvfb", &XVFB).await;
        let (bus, address) = serve("dbus-daemon", &DBUS).await;
        session.environment.insert("DISPLAY", format!(":{display}"));
        session
            .environment
            .insert("DBUS_SESSION_BUS_ADDRESS", address);
        session._servers = vec![screen, bus];
        session
    }

    pub(crate) fn without_screen() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-desktop-")
            .tempdir()
            .expect("a temporary folder");
        let program = folder.path().join("postern-desktop");
        let built = Path::new(env!("CARGO_BIN_EXE_postern-desktop"));
        fs::hard_link(built, &program)
            .or_else(|_| fs::copy(built, &program).map(|_| ()))
            .expect("the app, alone in a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let environment = BTreeMap::from([
            ("HOME", at("")),
            ("XDG_RUNTIME_DIR", at("")),
            ("PATH", at("empty")),
            ("NO_AT_BRIDGE", "1".to_owned()),
            ("GDK_BACKEND", "x11".to_owned()),
            ("POSTERN_LOG", "postern_desktop=trace".to_owned()),
        ]);
        Self {
            folder,
            environment,
            tray: None,
            _servers: Vec::new(),
        }
    }

    /// Adds a tray to the session.
    pub(crate) async fn with_tray(mut self) -> Self {
        self.tray = Some(TrayHost::open(&self.environment["DBUS_SESSION_BUS_ADDRESS"]).await);
        self
    }

    /// Waits for the app's icon in the tray.
    pub(crate) async fn tray_item(&self) -> TrayItem {
        let host = self.tray.as_ref().expect("a session with a tray");
        within("an icon in the tray", host.item()).await
    }

    pub(crate) fn screen(&self) -> Screen {
        Screen::open(&self.environment["DISPLAY"])
    }

    pub(crate) fn home(&self) -> Home {
        Home::under(&self.home_folder()).expect("a home")
    }

    pub(crate) fn home_folder(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("postern-desktop")
    }

    pub(crate) fn environment(&self) -> &BTreeMap<&'static str, String> {
        &self.environment
    }

    pub(crate) fn log(&self) -> File {
        let path = self.folder.path().join("app.log");
        let mut options = File::options();
        options.create(true).append(true);
        options.open(path).expect("a log")
    }
}

/// Xvfb selects a free display and prints it.
const XVFB: [&str; 6] = ["-displayfd", "1", "-screen", "0", "1280x800x24", "-noreset"];
const DBUS: [&str; 4] = ["--session", "--nofork", "--nopidfile", "--print-address=1"];

/// Runs a server that prints its address in the first line.
async fn serve(program: &str, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; hint: `cargo xtask test` installs it"));
    let output = child.stdout.take().expect("its output");
    let mut lines = BufReader::new(output).lines();
    let line = within(program, lines.next_line())
        .await
        .expect("its output");
    (child, line.expect("where it listens").trim().to_owned())
}

impl Drop for Session {
    /// Prints the app's log if the case failed.
    #[expect(clippy::print_stdout, reason = "where the test's own words go")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("app.log"));
            println!("the app said:\n{}", log.unwrap_or_default());
        }
    }
}
