//! The folders of the bridge's files and sockets.
//!
//! They depend only on the user ID and the home folder, because hosts start the shim with almost no
//! environment variables, and shim and bridge must agree. `--home` (or `POSTERN_HOME`, which the
//! program reads) selects one folder for all files instead.

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

/// The purpose of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// MCP with shims, one message per line.
    Mcp,
    /// The management API.
    Control,
    /// HTTP with hosts that support the URL of a socket.
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

/// Why the folders cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The system knows no home folder for this user.
    #[error("this user has no home folder; hint: set HOME, or add --home FOLDER")]
    None,
    /// The folder given cannot be used.
    #[error(
        "{path} cannot be used as Postern's folder: {reason}; hint: choose a folder that you can write to"
    )]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

impl Home {
    /// Returns the platform's default folders for the current user.
    ///
    /// # Errors
    /// [`HomeError::None`] if the system knows no home folder.
    pub fn of_user() -> Result<Self, HomeError> {
        let home = folder_of_user().ok_or(HomeError::None)?;
        Ok(Self::default_folders(&home))
    }

    /// Returns folders under `root`, which is made absolute.
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

    /// Returns the folder given with `--home`, to pass it to child processes. Returns `None` for the
    /// default folders.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Returns the path of `config.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Returns the path of `gateway.toml` for the bundled gateway.
    #[must_use]
    pub fn gateway_file(&self) -> PathBuf {
        self.config.join("gateway.toml")
    }

    /// Returns the folder of the bundled gateway's data.
    #[must_use]
    pub fn gateway_dir(&self) -> PathBuf {
        self.state.join("gateway")
    }

    /// Returns the folder of the vault.
    #[must_use]
    pub fn vault_dir(&self) -> PathBuf {
        self.state.join("vault")
    }

    /// Returns the folder of the server caches.
    #[must_use]
    pub fn seen_dir(&self) -> PathBuf {
        self.state.join("seen")
    }

    /// Returns the path of the bridge's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.state.join("bridge.log")
    }

    /// Returns the folder of the sockets and the lock, which only the user can access.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.run
    }

    /// Returns the path of a socket. On Windows, the pipe's name is derived from the folder.
    #[must_use]
    pub fn socket(&self, kind: SocketKind) -> PathBuf {
        self.run.join(kind.file_name())
    }
}

/// Returns the user's home folder as an absolute path, even if a snap has replaced `HOME`. Returns
/// `None` if the system knows none.
#[must_use]
pub fn folder_of_user() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    Some(outside_of_snap(&home).to_owned())
}

/// Returns the home folder that contains the snap folder in `path`. Returns any other path unchanged.
///
/// A snap's folders are `~/snap/NAME/REVISION` and `~/snap/NAME/common`, or `~/.snap/data/NAME/…`
/// (snapd, "Data locations"). Uses no variables, because hosts pass on `HOME` but not the snap's.
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
    // The root is no home folder: snaps are mounted under `/snap`.
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

/// Returns `/run/user/UID/postern`. Returns `None` if `/run/user/UID` is missing or belongs to another
/// user.
#[cfg(not(any(windows, target_os = "macos")))]
fn user_run_dir() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;

    let uid = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/run/user/{uid}"));
    let is_own = std::fs::metadata(&dir).is_ok_and(|data| data.is_dir() && data.uid() == uid);
    is_own.then(|| dir.join("postern"))
}

/// Returns the folder, or one named after its hash if the paths of its sockets would be longer than
/// 104 bytes, which is the limit of macOS (Linux: 108).
#[cfg(unix)]
fn shorten(run: PathBuf) -> PathBuf {
    use std::hash::{Hash, Hasher};
    const MAX_LENGTH: usize = 104 - "/control.sock".len() - 1;
    if run.as_os_str().len() <= MAX_LENGTH {
        return run;
    }
    #[expect(
        deprecated,
        reason = "the only hasher of std whose result is the same in all releases"
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
    fn snap_folder_is_resolved_to_home_folder() {
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
    fn root_contains_all_files_and_long_socket_paths_are_shortened() {
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
