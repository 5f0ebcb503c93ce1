//! Opens pages in the user's browser.
//!
//! Invariants: only http and https pages are opened. No shell sees the URL. The URL is a single
//! argument and never an option.

mod display;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use url::Url;

pub use display::{BrowserAvailability, EnvironmentHints, NoBrowserReason};

/// Errors of opening a page.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The opener could not be started.
    #[error("`{program}` could not be started: {reason}")]
    Start {
        /// The opener.
        program: String,
        /// The cause.
        reason: io::Error,
    },
    /// The opener exited with a failure.
    #[error("`{0}` could not open a browser")]
    Failed(String),
    /// The URL is not http or https.
    #[error("only web pages are opened")]
    NotWeb,
    /// No browser on this machine is visible to the user.
    #[error("{0}")]
    Unavailable(NoBrowserReason),
}

/// Opens `page` with `command`. Falls back to the system's opener if there is no command or it
/// cannot be started.
///
/// A command is either the path of a program, which may contain spaces, or a program and its
/// arguments, separated by spaces. `%s` stands for the URL. Without `%s` the URL is the last
/// argument.
///
/// The system's opener is not used where the user would not see the page. A command is always used.
///
/// # Errors
/// Returns [`BrowserError`]. If no opener could be started, the error names the first one.
pub async fn open(
    page: &Url,
    command: Option<&str>,
    availability: BrowserAvailability,
) -> Result<(), BrowserError> {
    open_with(page, command, system_openers(availability)).await
}

/// Checks whether a browser can be opened, by `command` or by the system.
///
/// # Errors
/// Returns why there is no browser here.
pub fn may_open(
    command: Option<&str>,
    availability: BrowserAvailability,
) -> Result<(), NoBrowserReason> {
    match (command.and_then(words), availability) {
        (None, BrowserAvailability::Unavailable(why)) => Err(why),
        (Some(_), _) | (None, BrowserAvailability::Desktop | BrowserAvailability::Windows) => {
            Ok(())
        }
    }
}

/// The browser of the user, as the options describe it.
#[derive(Clone, Debug)]
pub(crate) struct UserBrowser {
    /// The command that opens pages instead of the system's browser.
    pub(crate) command: Option<String>,
    pub(crate) availability: BrowserAvailability,
}

impl UserBrowser {
    /// Opens a page.
    ///
    /// # Errors
    /// As [`open`].
    pub(crate) async fn open(&self, page: &Url) -> Result<(), BrowserError> {
        open(page, self.command.as_deref(), self.availability).await
    }

    /// Checks whether a page can be opened.
    ///
    /// # Errors
    /// As [`may_open`].
    pub(crate) fn may_open(&self) -> Result<(), NoBrowserReason> {
        may_open(self.command.as_deref(), self.availability)
    }
}

async fn open_with(
    page: &Url,
    command: Option<&str>,
    system: Result<Vec<Vec<String>>, NoBrowserReason>,
) -> Result<(), BrowserError> {
    if !matches!(page.scheme(), "http" | "https") {
        return Err(BrowserError::NotWeb);
    }
    let chosen = command.and_then(words);
    let openers = match (chosen, system) {
        (Some(chosen), system) => [vec![chosen], system.unwrap_or_default()].concat(),
        (None, system) => system.map_err(BrowserError::Unavailable)?,
    };
    let mut first = None;
    for opener in openers {
        match run(page, opener).await {
            Err(unstarted @ BrowserError::Start { .. }) => {
                tracing::warn!(problem = %unstarted, "the next opener is tried, if there is one");
                first.get_or_insert(unstarted);
            }
            ran => return ran,
        }
    }
    Err(first.expect("there is an opener"))
}

/// Splits a command into program and arguments. Returns `None` if it is blank.
fn words(command: &str) -> Option<Vec<String>> {
    if Path::new(command).is_file() {
        return Some(vec![command.to_owned()]);
    }
    let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

async fn run(page: &Url, mut words: Vec<String>) -> Result<(), BrowserError> {
    match words.iter_mut().find(|word| word.contains("%s")) {
        Some(word) => *word = word.replace("%s", page.as_str()),
        None => words.push(page.as_str().to_owned()),
    }
    let program = words.remove(0);
    let unstarted = |reason| BrowserError::Start {
        program: program.clone(),
        reason,
    };
    let mut command = Command::new(&program);
    command.args(&words).envs(desktop_environment());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(unstarted)?;
    // An opener exits once it has passed the page on. A browser that is started directly keeps
    // running. So only a quick failure counts as one.
    let grace = std::time::Duration::from_secs(3);
    match tokio::time::timeout(grace, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(BrowserError::Failed(program)),
        Ok(Err(reason)) => Err(unstarted(reason)),
        Ok(Ok(_)) => Ok(()),
        Err(_) => {
            tokio::spawn(async move { child.wait().await });
            Ok(())
        }
    }
}

/// Returns the system's openers, best first. None of them passes the URL to a shell. `cmd.exe`
/// does, and `wslview` does by PowerShell.
fn system_openers(availability: BrowserAvailability) -> Result<Vec<Vec<String>>, NoBrowserReason> {
    let handler = "url.dll,FileProtocolHandler";
    let openers: &[&[&str]] = match availability {
        // Over SSH the page would open on a screen that another person may use.
        BrowserAvailability::Unavailable(why @ NoBrowserReason::Ssh) => return Err(why),
        // The PATH that a host passes on may lack Windows' folders.
        BrowserAvailability::Windows => &[
            &["rundll32.exe", handler],
            &["/mnt/c/Windows/System32/rundll32.exe", handler],
            &["xdg-open"],
        ],
        BrowserAvailability::Desktop if cfg!(windows) => &[&["rundll32.exe", handler]],
        BrowserAvailability::Desktop if cfg!(target_os = "macos") => &[&["open"]],
        // Without a display, `xdg-open` is a last attempt: it may have a configured way to open
        // pages.
        BrowserAvailability::Desktop
        | BrowserAvailability::Unavailable(
            NoBrowserReason::Container | NoBrowserReason::NoDisplay,
        ) => &[&["xdg-open"]],
    };
    let owned = |opener: &&[&str]| opener.iter().map(|&word| word.to_owned()).collect();
    Ok(openers.iter().map(owned).collect())
}

/// Returns true if a display exists although the environment names none.
#[must_use]
pub fn finds_display() -> bool {
    let found = desktop_environment();
    found
        .iter()
        .any(|(name, _)| matches!(*name, "DISPLAY" | "WAYLAND_DISPLAY"))
}

/// Returns the variables that a bridge started by a host lacks: the display and the session bus, at
/// the paths that Linux desktops use.
#[cfg(not(any(windows, target_os = "macos")))]
fn desktop_environment() -> Vec<(&'static str, PathBuf)> {
    let present = |name: &str| std::env::vars_os().any(|(key, _)| key == name);
    let runtime = PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw()));
    let mut found = Vec::new();
    if !present("XDG_RUNTIME_DIR") && runtime.is_dir() {
        found.push(("XDG_RUNTIME_DIR", runtime.clone()));
    }
    if !present("DBUS_SESSION_BUS_ADDRESS") && runtime.join("bus").exists() {
        found.push((
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={}", runtime.join("bus").display()).into(),
        ));
    }
    if !present("WAYLAND_DISPLAY") && runtime.join("wayland-0").exists() {
        found.push(("WAYLAND_DISPLAY", "wayland-0".into()));
    }
    if !present("DISPLAY")
        && let Some(display) = first_x_display(Path::new("/tmp/.X11-unix"))
    {
        found.push(("DISPLAY", display.into()));
    }
    found
}

/// Returns the first X display of this user, or of a server that root runs for the user. Skips
/// sockets in `folder` that no server listens on: a killed server leaves its socket behind.
#[cfg(not(any(windows, target_os = "macos")))]
fn first_x_display(folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    let user = rustix::process::getuid().as_raw();
    let display = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let number: u32 = name.to_str()?.strip_prefix('X')?.parse().ok()?;
        let is_ours = [user, 0].contains(&entry.metadata().ok()?.uid());
        (is_ours && UnixStream::connect(entry.path()).is_ok()).then_some(number)
    };
    let first = std::fs::read_dir(folder).ok()?.filter_map(display).min();
    first.map(|number| format!(":{number}"))
}

#[cfg(any(windows, target_os = "macos"))]
fn desktop_environment() -> Vec<(&'static str, PathBuf)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    #[cfg(not(any(windows, target_os = "macos")))]
    use std::os::unix::net::UnixListener;

    use url::Url;

    use super::{BrowserAvailability, BrowserError};
    #[cfg(unix)]
    use super::{NoBrowserReason, open_with, words};

    async fn open(page: &Url, command: Option<&str>) -> Result<(), BrowserError> {
        super::open(page, command, BrowserAvailability::Desktop).await
    }

    #[tokio::test]
    async fn non_web_url_is_rejected() {
        for page in [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "ms-settings:x",
        ] {
            let refused = open(&page.parse().unwrap(), Some("true")).await;
            assert!(matches!(refused, Err(BrowserError::NotWeb)), "{page}");
        }
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn first_x_display_skips_stale_socket() {
        let folder = tempfile::tempdir().unwrap();
        let listen = |name| UnixListener::bind(folder.path().join(name)).unwrap();
        let display = || super::first_x_display(folder.path());
        drop(listen("X0"));
        assert_eq!(display(), None, "its server was killed");
        let servers = ["X12", "X3", "Y1"].map(listen);
        assert_eq!(display().as_deref(), Some(":3"));
        drop(servers);
        assert_eq!(display(), None);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn url_with_shell_metacharacters_stays_one_argument() {
        let dir = tempfile::tempdir().unwrap();
        let page = "https://example.com/$(id);-x?a=$(touch x)&b=;`id`' --help %s |"
            .parse()
            .unwrap();
        let target = dir.path().join("seen").display().to_string();
        open(&page, Some(&format!("ln -s %s {target}")))
            .await
            .unwrap();
        let seen = std::fs::read_link(target).unwrap();
        assert_eq!(seen.to_str().unwrap(), page.as_str());
        let program = dir.path().join("a browser");
        std::os::unix::fs::symlink("/bin/false", &program).unwrap();
        let failed = open(&page, program.to_str()).await;
        assert!(matches!(failed, Err(BrowserError::Failed(name)) if name.ends_with("a browser")));
        assert!(matches!(
            open(&page, Some("false")).await,
            Err(BrowserError::Failed(_))
        ));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn open_falls_back_if_command_cannot_start() {
        let dir = tempfile::tempdir().unwrap();
        let page = "https://example.com/".parse().unwrap();
        let target = dir.path().join("seen").display().to_string();
        let system = ["ln", "-s", "%s", &target].map(str::to_owned).to_vec();
        let none = Some("/no/such/program --new-window");
        open_with(&page, none, Ok(vec![system.clone()]))
            .await
            .unwrap();
        assert_eq!(
            std::fs::read_link(&target).unwrap().to_str(),
            Some(page.as_str())
        );
        // A browser that started and then failed is not replaced by another.
        std::fs::remove_file(&target).unwrap();
        let failed = open_with(&page, Some("false"), Ok(vec![system.clone()])).await;
        assert!(matches!(failed, Err(BrowserError::Failed(_))));
        assert!(std::fs::read_link(&target).is_err());
        open_with(&page, Some("  "), Ok(vec![system]))
            .await
            .unwrap();
        let neither = open_with(&page, none, Ok(vec![vec!["/nor/this".to_owned()]])).await;
        let problem = neither.unwrap_err().to_string();
        assert!(
            problem.starts_with("`/no/such/program` could not be started: "),
            "{problem}"
        );
        assert_eq!(words(" \t"), None);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn ssh_session_opens_page_only_by_command() {
        let page = "https://example.com/".parse().unwrap();
        let ssh = BrowserAvailability::Unavailable(NoBrowserReason::Ssh);
        let refused = super::open(&page, None, ssh).await;
        assert!(matches!(
            refused,
            Err(BrowserError::Unavailable(NoBrowserReason::Ssh))
        ));
        super::open(&page, Some("true"), ssh).await.unwrap();
        assert_eq!(super::may_open(Some(" "), ssh), Err(NoBrowserReason::Ssh));
        assert_eq!(super::may_open(Some("true"), ssh), Ok(()));
    }

    #[test]
    fn wsl_opens_page_without_shell() {
        let openers = super::system_openers(BrowserAvailability::Windows).unwrap();
        let programs: Vec<_> = openers.iter().map(|words| &*words[0]).collect();
        assert_eq!(
            programs,
            [
                "rundll32.exe",
                "/mnt/c/Windows/System32/rundll32.exe",
                "xdg-open"
            ]
        );
        assert!(openers[..2].iter().all(|words| words.len() == 2));
    }
}
