//! The environment variables. Only this module reads them.
//!
//! Hosts pass almost no variables to the processes that they spawn. So `connect` needs none of them to
//! find the bridge, and every variable has a default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bridge::VaultChoice;
use bridge::browser::{BrowserAvailability, EnvironmentHints};
use bridge::hosts::{Os, Places};
use control::Home;

use crate::error::CliError;
use crate::flatpak::Flatpak;

/// The file that Flatpak creates in each sandbox. Unlike a variable, a host cannot omit it.
const FLATPAK_INFO: &str = "/.flatpak-info";

/// The values of the environment variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `POSTERN_HOME`: the folder for all files.
    home: Option<PathBuf>,
    /// `POSTERN_VAULT`: `keychain` or `file`.
    vault: Option<String>,
    /// `POSTERN_BROWSER`, else `BROWSER`: the command that opens a page.
    pub(crate) browser: Option<String>,
    /// `POSTERN_BROWSER` alone, which only Postern uses.
    pub(crate) postern_browser: Option<String>,
    /// `POSTERN_LOG`: the log filter, as in `debug` or `bridge=trace`.
    pub(crate) log: Option<String>,
    /// `POSTERN_EXTRA_CA`: PEM files to trust in addition to the system's, separated as in `PATH`.
    pub(crate) extra_ca: Vec<PathBuf>,
    /// Whether there is a display.
    pub(crate) has_display: bool,
    /// The Flatpak sandbox of this process, if any.
    pub(crate) flatpak: Option<Flatpak>,
    /// `SSH_CONNECTION`: the addresses and ports of client and server.
    ssh: Option<String>,
    wsl: bool,
    dev_container: bool,
    path: Option<OsString>,
    config_home: Option<PathBuf>,
    appdata: Option<PathBuf>,
    local_appdata: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment.
    pub(crate) fn read() -> Self {
        let folder = |name| variable(name).map(PathBuf::from);
        Self {
            home: folder("POSTERN_HOME"),
            vault: text("POSTERN_VAULT"),
            browser: text("POSTERN_BROWSER").or_else(|| text("BROWSER")),
            postern_browser: text("POSTERN_BROWSER"),
            log: text("POSTERN_LOG"),
            extra_ca: variable("POSTERN_EXTRA_CA")
                .map(|paths| std::env::split_paths(&paths).collect())
                .unwrap_or_default(),
            has_display: cfg!(any(windows, target_os = "macos"))
                || variable("DISPLAY").is_some()
                || variable("WAYLAND_DISPLAY").is_some(),
            flatpak: Flatpak::detect(Path::new(FLATPAK_INFO)),
            ssh: text("SSH_CONNECTION"),
            wsl: variable("WSL_DISTRO_NAME").is_some(),
            dev_container: variable("REMOTE_CONTAINERS").is_some()
                || variable("CODESPACES").is_some(),
            path: variable("PATH"),
            config_home: folder("XDG_CONFIG_HOME"),
            appdata: folder("APPDATA"),
            local_appdata: folder("LOCALAPPDATA"),
        }
    }

    /// Returns the bridge's folders: under `--home`, under `POSTERN_HOME`, or the defaults.
    pub(crate) fn home(&self, option: Option<PathBuf>) -> Result<Home, CliError> {
        let home = match option.or_else(|| self.home.clone()) {
            Some(root) => Home::under(&root)?,
            None => Home::of_user()?,
        };
        Ok(home)
    }

    /// Returns how the tokens are protected. Without the variable, an existing key file selects the
    /// key file, because the hosts of shims do not pass the variable on.
    pub(crate) fn vault(&self, home: &Home) -> Result<VaultChoice, CliError> {
        match self.vault.as_deref() {
            Some("file") => Ok(VaultChoice::File),
            Some("keychain") => Ok(VaultChoice::Keychain),
            Some(other) => Err(CliError::usage(
                format!("POSTERN_VAULT is `{other}`"),
                "set it to keychain or file, or leave it out",
            )),
            None if home.vault_dir().join("key").is_file() => Ok(VaultChoice::File),
            None => Ok(VaultChoice::Keychain),
        }
    }

    /// Returns this machine's address as the SSH client reached it. Returns `None` without SSH.
    pub(crate) fn ssh_server(&self) -> Option<&str> {
        self.ssh.as_deref()?.split(' ').nth(2)
    }

    /// Returns whether the user's browser can be opened on this machine.
    pub(crate) fn surroundings(&self) -> BrowserAvailability {
        BrowserAvailability::from_hints(EnvironmentHints {
            display: self.has_display || bridge::browser::finds_display(),
            ssh: self.ssh.is_some(),
            wsl: self.wsl || is_kernel_of_wsl(),
            dev_container: self.dev_container,
            docker: Path::new("/.dockerenv").exists(),
        })
    }

    /// Returns the folders in which hosts keep their files.
    pub(crate) fn places(&self) -> Places {
        Places {
            os: Os::this(),
            home: control::folder_of_user().unwrap_or_default(),
            config_home: self.config_home.clone(),
            appdata: self.appdata.clone(),
            local_appdata: self.local_appdata.clone(),
        }
    }

    /// Returns the folders of `PATH`.
    pub(crate) fn search_path(&self) -> impl Iterator<Item = PathBuf> {
        self.path.iter().flat_map(std::env::split_paths)
    }
}

/// Returns whether the kernel is that of WSL. This works without any environment variable.
fn is_kernel_of_wsl() -> bool {
    let version = std::fs::read_to_string("/proc/version").unwrap_or_default();
    version.to_ascii_lowercase().contains("microsoft")
}

/// Returns the value of a variable that `gateway.toml` names for a secret.
pub(crate) fn secret(name: &str) -> Option<String> {
    text(name)
}

fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// Returns the value of a variable. Returns `None` if it is unset or empty.
fn variable(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "only this function may")]
    std::env::var_os(name).filter(|value| !value.is_empty())
}
