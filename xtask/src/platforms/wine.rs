//! Programs for Windows under Wine, in a separate Windows installation.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{environment, steps::run};

/// A new Windows installation. Its processes end when this value is dropped.
pub(super) struct Wine {
    prefix: PathBuf,
}

impl Wine {
    /// Creates the installation.
    ///
    /// # Errors
    ///
    /// If Wine fails.
    pub(super) fn new(prefix: PathBuf) -> Result<Self> {
        let wine = Self { prefix };
        // The server of a previous installation may still run.
        wine.stop();
        match fs::remove_dir_all(&wine.prefix) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("cannot remove the last run's Windows");
            }
            _ => {}
        }
        fs::create_dir_all(&wine.prefix)?;
        // Otherwise the server would end with the last program, and end all detached programs too.
        run(quiet(wine.command("wineserver").arg("--persistent")))?;
        run(quiet(wine.command("wineboot").arg("--init")))?;
        Ok(wine)
    }

    /// Returns the command of a Windows program by its Windows path, with only the environment that
    /// Windows sets.
    pub(super) fn program(&self, path: &str) -> Command {
        let mut command = self.command("wine");
        command.arg(path);
        command
    }

    /// Makes cargo run its Windows programs here.
    pub(super) fn runs<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
            .envs(self.surroundings())
    }

    /// Reads the stdout of a program until no process holds it.
    ///
    /// # Errors
    ///
    /// If the program fails. The error contains its output.
    pub(super) fn output(&self, path: &str, arguments: &[&str]) -> Result<String> {
        let (status, stdout) = self.said(path, arguments)?;
        let stderr = plain(&fs::read(self.errors())?);
        ensure!(
            status.success(),
            "{path} {} failed: {status}\n{stdout}{stderr}",
            arguments.join(" "),
        );
        Ok(stdout)
    }

    /// The same for a program that may fail.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(super) fn said(&self, path: &str, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        // A file, because Wine passes stderr on to processes in the background.
        let output = self
            .program(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(fs::File::create(self.errors())?)
            .output()?;
        Ok((output.status, plain(&output.stdout)))
    }

    fn errors(&self) -> PathBuf {
        self.prefix.join("stderr")
    }

    /// Returns the path on this machine of a file on drive C.
    pub(super) fn drive_c(&self, path: &str) -> PathBuf {
        self.prefix.join("drive_c").join(path)
    }

    /// Returns the user's home folder there.
    pub(super) fn profile(&self) -> Result<PathBuf> {
        let users = self.drive_c("users");
        let mut folders = fs::read_dir(&users)?.filter_map(|entry| Some(entry.ok()?.path()));
        folders
            .find(|path| !path.ends_with("Public"))
            .with_context(|| format!("no user has a home in {}", users.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", environment::path())
            .env("HOME", self.prefix.parent().unwrap_or(Path::new("/")))
            .envs(self.surroundings());
        command
    }

    /// Returns the variables that make Wine use this installation, print nothing, and not offer to
    /// install .NET and a browser.
    fn surroundings(&self) -> [(&'static str, &OsStr); 3] {
        [
            ("WINEPREFIX", self.prefix.as_os_str()),
            ("WINEDEBUG", OsStr::new("-all")),
            ("WINEDLLOVERRIDES", OsStr::new("mscoree=;mshtml=")),
        ]
    }

    fn stop(&self) {
        // There may be no process to end.
        let _ = quiet(self.command("wineserver").args(["--kill", "--wait"])).status();
    }
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

/// Closes the standard streams, because processes in the background must not hold those of this
/// program.
fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

impl Drop for Wine {
    fn drop(&mut self) {
        self.stop();
    }
}
