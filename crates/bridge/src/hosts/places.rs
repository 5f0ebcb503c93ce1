//! Where host programs keep their files on each system.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hosts::Host;

/// The family of operating systems whose folders count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux and the other systems that follow XDG.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Os {
    /// The one this program was built for.
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

    /// Whether `path` names the same file from every folder.
    pub(super) fn is_absolute(self, path: &str) -> bool {
        match (self, path.as_bytes()) {
            (Self::Linux | Self::MacOs, path) => path.starts_with(b"/"),
            (Self::Windows, [drive, b':', b'\\' | b'/', ..]) => drive.is_ascii_alphabetic(),
            (Self::Windows, path) => path.starts_with(b"\\\\"),
        }
    }
}

/// The user's folders, as the caller read them from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The system.
    pub os: Os,
    /// The home folder.
    pub home: PathBuf,
    /// `XDG_CONFIG_HOME`; what is not an absolute path does not count.
    pub config_home: Option<PathBuf>,
    /// `APPDATA`.
    pub appdata: Option<PathBuf>,
    /// `LOCALAPPDATA`.
    pub local_appdata: Option<PathBuf>,
}

/// The host's configuration file, whether or not it is there.
///
/// On Windows the one inside the store package where such a package is installed: the program then
/// never reads the classic one. Looks for the package on the disk; reads nothing else.
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
    let told = places
        .config_home
        .as_ref()
        .filter(|path| places.os.is_absolute(&path.to_string_lossy()));
    told.cloned().unwrap_or_else(|| places.home.join(".config"))
}

fn appdata(places: &Places) -> PathBuf {
    places
        .appdata
        .clone()
        .unwrap_or_else(|| places.home.join("AppData/Roaming"))
}

/// The folder of the installed store package whose name starts so. Where an old package left its
/// folder behind, the one that was written to last.
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
