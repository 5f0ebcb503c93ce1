//! The paths of host files on each system.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hosts::Host;

/// The operating systems whose folders differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux and other systems that follow XDG.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Os {
    /// The system that this program was built for.
    #[must_use]
    pub const fn this() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }

    /// Returns true if `path` is absolute on this system.
    pub(super) fn is_absolute(self, path: &str) -> bool {
        match (self, path.as_bytes()) {
            (Self::Linux | Self::MacOs, path) => path.starts_with(b"/"),
            (Self::Windows, [drive, b':', b'\\' | b'/', ..]) => drive.is_ascii_alphabetic(),
            (Self::Windows, path) => path.starts_with(b"\\\\"),
        }
    }
}

/// The user's folders, from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The system.
    pub os: Os,
    /// The home folder.
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME`. Ignored if it is not an absolute path.
    pub config_home: Option<PathBuf>,
    /// `APPDATA`.
    pub appdata: Option<PathBuf>,
    /// `LOCALAPPDATA`.
    pub local_appdata: Option<PathBuf>,
}

/// Returns the path of the host's configuration file, whether or not it exists.
///
/// On Windows, prefers the file in the store package if one is installed, because the host then
/// ignores the classic one. Searches the disk for the package and reads nothing else.
#[must_use]
pub fn file(host: Host, places: &Places) -> PathBuf {
    match host {
        Host::ClaudeDesktop => claude_folder(places).join("claude_desktop_config.json"),
    }
}

fn claude_folder(places: &Places) -> PathBuf {
    match places.os {
        Os::Linux => config_home(places).join("Claude"),
        Os::MacOs => places.home.join("Library/Application Support/Claude"),
        Os::Windows => {
            let roaming = store_package(places, "Claude_").map_or_else(
                || appdata(places),
                |package| package.join("LocalCache/Roaming"),
            );
            roaming.join("Claude")
        }
    }
}

fn config_home(places: &Places) -> PathBuf {
    let absolute = places
        .config_home
        .as_ref()
        .filter(|path| places.os.is_absolute(&path.to_string_lossy()));
    absolute
        .cloned()
        .unwrap_or_else(|| places.home.join(".config"))
}

fn appdata(places: &Places) -> PathBuf {
    places
        .appdata
        .clone()
        .unwrap_or_else(|| places.home.join("AppData/Roaming"))
}

/// Returns the folder of the installed store package with this prefix. If an old package left its
/// folder behind, returns the one that was written to last.
fn store_package(places: &Places, prefix: &str) -> Option<PathBuf> {
    let local = places.local_appdata.clone();
    let packages = local
        .unwrap_or_else(|| places.home.join("AppData/Local"))
        .join("Packages");
    fs::read_dir(packages)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .max_by_key(|path| (last_written(path), path.clone()))
}

fn last_written(package: &Path) -> Option<std::time::SystemTime> {
    let cache = package.join("LocalCache/Roaming/Claude");
    fs::metadata(cache)
        .and_then(|folder| folder.modified())
        .ok()
}
