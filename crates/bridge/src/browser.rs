//! Opening a page in the person's browser.
//!
//! Invariants: only http and https pages are opened; no shell ever sees the address; the address
//! is one argument and never an option.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use url::Url;

/// Why a page could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrowserError {
    /// No program to open it with.
    #[error("no browser could be started ({0})")]
    Start(io::Error),
    /// The program said that it failed.
    #[error("`{0}` could not open a browser")]
    Failed(String),
    /// Not a web page.
    #[error("only web pages are opened")]
    NotWeb,
}

/// Opens `page` with `command` if there is one, else with the system's opener.
///
/// A command is the path of a program, blanks and all, or a program and its arguments, separated
/// by blanks. The address takes the place of `%s`, or comes last.
pub(crate) async fn open(page: &Url, command: Option<&str>) -> Result<(), BrowserError> {
    if !matches!(page.scheme(), "http" | "https") {
        return Err(BrowserError::NotWeb);
    }
    let mut words = match command {
        Some(path) if Path::new(path).is_file() => vec![path.to_owned()],
        Some(command) => command.split_whitespace().map(str::to_owned).collect(),
        None => system_opener(),
    };
    match words.iter_mut().find(|word| word.contains("%s")) {
        Some(word) => *word = word.replace("%s", page.as_str()),
        None => words.push(page.as_str().to_owned()),
    }
    let program = words.remove(0);
    let mut command = Command::new(&program);
    command.args(&words).envs(desktop_environment());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(BrowserError::Start)?;
    // An opener hands the page over and ends; a browser that is started directly stays. So only
    // a quick failure is one.
    let grace = std::time::Duration::from_secs(3);
    match tokio::time::timeout(grace, child.wait()).await {
        Ok(Ok(status)) if !status.success() => Err(BrowserError::Failed(program)),
        Ok(Err(error)) => Err(BrowserError::Start(error)),
        Ok(Ok(_)) => Ok(()),
        Err(_) => {
            tokio::spawn(async move { child.wait().await });
            Ok(())
        }
    }
}

#[cfg(target_os = "macos")]
fn system_opener() -> Vec<String> {
    vec!["open".to_owned()]
}

#[cfg(windows)]
fn system_opener() -> Vec<String> {
    vec![
        "rundll32.exe".to_owned(),
        "url.dll,FileProtocolHandler".to_owned(),
    ]
}

#[cfg(not(any(windows, target_os = "macos")))]
fn system_opener() -> Vec<String> {
    vec!["xdg-open".to_owned()]
}

/// What a bridge that a host started lacks: the display and the session bus, found where Linux
/// desktops put them.
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
        && let Some(display) = first_x_display()
    {
        found.push(("DISPLAY", display.into()));
    }
    found
}

#[cfg(not(any(windows, target_os = "macos")))]
fn first_x_display() -> Option<String> {
    let sockets = std::fs::read_dir("/tmp/.X11-unix").ok()?;
    let mut numbers: Vec<u32> = sockets
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix('X')?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.first().map(|number| format!(":{number}"))
}

#[cfg(any(windows, target_os = "macos"))]
fn desktop_environment() -> Vec<(&'static str, PathBuf)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::{BrowserError, open};

    #[tokio::test]
    async fn only_web_pages_reach_a_program() {
        for page in ["file:///etc/passwd", "javascript:alert(1)", "ms-settings:x"] {
            let refused = open(&page.parse().unwrap(), Some("true")).await;
            assert!(matches!(refused, Err(BrowserError::NotWeb)), "{page}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_address_is_one_argument_that_no_shell_sees() {
        let dir = tempfile::tempdir().unwrap();
        let page = "https://example.com/?a=$(touch%20x)&b=;`id`'"
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
        assert!(matches!(
            open(&page, Some("/no/such/program")).await,
            Err(BrowserError::Start(_))
        ));
    }
}
