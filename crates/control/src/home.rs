//! Where the bridge keeps its files and sockets.
//!
//! Everything follows from the user id and the home folder alone: hosts start the shim with
//! almost no environment, and shim and bridge must agree. `--home` (or `POSTERN_HOME`, read by
//! the program) puts everything under one folder instead.

use std::io;
use std::path::{Path, PathBuf};

/// The folders of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: Option<PathBuf>,
    config: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

/// Which of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// Shims: MCP, line by line.
    Mcp,
    /// The management API.
    Control,
    /// Hosts that speak HTTP and take the URL of a socket.
    Http,
}

impl SocketKind {
    fn file_name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp.sock",
            Self::Control => "control.sock",
            Self::Http => "http.sock",
        }
    }
}

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The system knows no home folder for this user.
    #[error("this user has no home folder; hint: set HOME, or say --home FOLDER")]
    None,
    /// The folder given cannot be used.
    #[error(
        "{path} cannot be used as Postern's folder: {reason}; hint: choose a folder that you can write to"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

impl Home {
    /// The platform's usual folders of the current user.
    ///
    /// # Errors
    /// [`HomeError::None`] where the system knows no home folder.
    pub fn of_user() -> Result<Self, HomeError> {
        let home = folder_of_user().ok_or(HomeError::None)?;
        Ok(Self::default_folders(&home))
    }

    /// Everything under one folder, which is made absolute.
    ///
    /// # Errors
    /// [`HomeError::Unusable`] if a relative path cannot be resolved.
    pub fn under(root: &Path) -> Result<Self, HomeError> {
        let root = std::path::absolute(root).map_err(|reason| HomeError::Unusable {
            path: root.to_owned(),
            reason,
        })?;
        Ok(Self {
            config: root.join("config"),
            state: root.join("state"),
            run: shorten(root.join("run")),
            root: Some(root),
        })
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    fn default_folders(home: &Path) -> Self {
        let state = home.join(".local/state/postern");
        let run = user_run_dir().unwrap_or_else(|| shorten(state.join("run")));
        Self {
            root: None,
            config: home.join(".config/postern"),
            state,
            run,
        }
    }

    #[cfg(target_os = "macos")]
    fn default_folders(home: &Path) -> Self {
        let folder = home.join("Library/Application Support/Postern");
        Self {
            root: None,
            config: folder.clone(),
            state: folder.clone(),
            run: shorten(folder.join("run")),
        }
    }

    #[cfg(windows)]
    fn default_folders(home: &Path) -> Self {
        let state = home.join(r"AppData\Local\Postern");
        Self {
            root: None,
            config: home.join(r"AppData\Roaming\Postern"),
            run: state.join("run"),
            state,
        }
    }

    /// The folder given with `--home`, to be passed on to processes that we start.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// `config.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// `gateway.toml` of the server mode.
    #[must_use]
    pub fn gateway_file(&self) -> PathBuf {
        self.config.join("gateway.toml")
    }

    /// The bundled gateway's data.
    #[must_use]
    pub fn gateway_dir(&self) -> PathBuf {
        self.state.join("gateway")
    }

    /// The sealed tokens.
    #[must_use]
    pub fn vault_dir(&self) -> PathBuf {
        self.state.join("vault")
    }

    /// What was last seen of servers.
    #[must_use]
    pub fn seen_dir(&self) -> PathBuf {
        self.state.join("seen")
    }

    /// The bridge's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.state.join("bridge.log")
    }

    /// The folder of the sockets and the lock, which only the user can enter.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// One of the sockets. On Windows, what its pipe is named after.
    #[must_use]
    pub fn socket(&self, kind: SocketKind) -> PathBuf {
        self.run.join(kind.file_name())
    }
}

/// The person's home folder, also where a snap has replaced it; an absolute path.
#[must_use]
pub fn folder_of_user() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    Some(outside_of_snap(&home).to_owned())
}

/// The home folder that a path within a snap's own folder is in, any other path itself.
///
/// A snap's folders are `~/snap/NAME/REVISION` and `~/snap/NAME/common`, or `~/.snap/data/NAME/…`
/// (snapd, "Data locations"). No variable is asked: hosts drop all of a snap's, but not `HOME`.
pub(crate) fn outside_of_snap(path: &Path) -> &Path {
    let snaps = path.ancestors().find_map(|folder| {
        let name = folder.parent()?;
        let snaps = name.parent()?;
        (is_revision(folder) && (snaps.ends_with("snap") || snaps.ends_with(".snap/data")))
            .then_some(snaps)
    });
    let home = snaps.and_then(|snaps| match snaps.ends_with("snap") {
        true => snaps.parent(),
        false => snaps.parent()?.parent(),
    });
    // Below the root there is nobody's home: `/snap` is where all snaps are mounted.
    home.filter(|home| home.parent().is_some()).unwrap_or(path)
}

fn is_revision(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        let number = name.strip_prefix('x').unwrap_or(name);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number || matches!(name, "common" | "current")
    })
}

/// `/run/user/UID/postern`, where the system made `/run/user/UID` and it is ours.
#[cfg(not(any(windows, target_os = "macos")))]
fn user_run_dir() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;

    let uid = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/run/user/{uid}"));
    let is_own = std::fs::metadata(&dir).is_ok_and(|data| data.is_dir() && data.uid() == uid);
    is_own.then(|| dir.join("postern"))
}

/// A unix socket's path must fit 104 bytes (macOS; Linux has 108): a folder that is too deep is
/// replaced by one named after its hash.
#[cfg(unix)]
fn shorten(run: PathBuf) -> PathBuf {
    use std::hash::{Hash, Hasher};
    const MAX_LENGTH: usize = 104 - "/control.sock".len() - 1;
    if run.as_os_str().len() <= MAX_LENGTH {
        return run;
    }
    #[expect(
        deprecated,
        reason = "the one hasher whose result never changes between releases"
    )]
    let mut hasher = std::hash::SipHasher::new();
    run.hash(&mut hasher);
    let uid = rustix::process::getuid().as_raw();
    PathBuf::from(format!("/tmp/postern-{uid}-{:016x}", hasher.finish()))
}

#[cfg(windows)]
fn shorten(run: PathBuf) -> PathBuf {
    run
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::{Home, SocketKind, outside_of_snap};

    #[test]
    fn the_home_of_a_snap_is_in_a_persons_home() {
        for (inside, home) in [
            ("/home/adele/snap/host/42", "/home/adele"),
            ("/home/adele/snap/host/x1/.config", "/home/adele"),
            ("/home/adele/snap/host/common", "/home/adele"),
            ("/home/adele/.snap/data/host/42", "/home/adele"),
            ("/home/adele/snap/host", "/home/adele/snap/host"),
            ("/home/snap/adele", "/home/snap/adele"),
            ("/snap/host/42", "/snap/host/42"),
            ("/home/adele", "/home/adele"),
        ] {
            assert_eq!(
                outside_of_snap(Path::new(inside)),
                Path::new(home),
                "{inside}"
            );
        }
    }

    #[test]
    fn one_folder_holds_everything_and_deep_folders_get_short_sockets() {
        let home = Home::under(Path::new("/x/y")).unwrap();
        assert_eq!(home.config_file(), Path::new("/x/y/config/config.toml"));
        assert_eq!(home.socket(SocketKind::Mcp), Path::new("/x/y/run/mcp.sock"));
        let deep = format!("/{}", "d".repeat(200));
        let socket = Home::under(Path::new(&deep))
            .unwrap()
            .socket(SocketKind::Control);
        assert!(socket.as_os_str().len() < 104, "{}", socket.display());
        assert_eq!(
            socket,
            Home::under(Path::new(&deep))
                .unwrap()
                .socket(SocketKind::Control)
        );
    }
}
