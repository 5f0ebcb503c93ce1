//! Programs for Windows under Wine, in a Windows of their own.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::{environment, steps::run};

/// A Windows that begins empty and ends with this value.
pub(super) struct Wine {
    prefix: PathBuf,
}

impl Wine {
    /// Makes it.
    ///
    /// # Errors
    /// Where Wine cannot.
    pub(super) fn new(prefix: PathBuf) -> Result<Self> {
        let wine = Self { prefix };
        // One that was left behind is still known to its server.
        wine.stop();
        match fs::remove_dir_all(&wine.prefix) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("cannot remove the last run's Windows");
            }
            _ => {}
        }
        fs::create_dir_all(&wine.prefix)?;
        // Else it would end with the last program, and take whatever is detached with it.
        run(quiet(wine.command("wineserver").arg("--persistent")))?;
        run(quiet(wine.command("wineboot").arg("--init")))?;
        Ok(wine)
    }

    /// A program of Windows, by its Windows path, with the environment that Windows gives and
    /// nothing of ours.
    pub(super) fn program(&self, path: &str) -> Command {
        let mut command = self.command("wine");
        command.arg(path);
        command
    }

    /// Has cargo run what it builds for Windows here.
    pub(super) fn runs<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        cargo
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
            .envs(self.surroundings())
    }

    /// Reads the stdout of a program until no process holds it any more.
    ///
    /// # Errors
    /// Where it does not end with success; the error tells what it said.
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

    /// The same of a program that may fail.
    ///
    /// # Errors
    /// Where it does not start.
    pub(super) fn said(&self, path: &str, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        // A file, because Wine itself hands stderr on to whatever a program leaves behind.
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

    /// Where a file of drive C lies on this machine.
    pub(super) fn drive_c(&self, path: &str) -> PathBuf {
        self.prefix.join("drive_c").join(path)
    }

    /// The user's home folder there.
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

    /// What makes Wine use this Windows, say nothing of itself, and do without .NET and a
    /// browser, whose installation it would otherwise propose.
    fn surroundings(&self) -> [(&'static str, &OsStr); 3] {
        [
            ("WINEPREFIX", self.prefix.as_os_str()),
            ("WINEDEBUG", OsStr::new("-all")),
            ("WINEDLLOVERRIDES", OsStr::new("mscoree=;mshtml=")),
        ]
    }

    fn stop(&self) {
        // There may be nothing to end.
        let _ = quiet(self.command("wineserver").args(["--kill", "--wait"])).status();
    }
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

/// What stays in the background must not hold the streams of this program.
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
