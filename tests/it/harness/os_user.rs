//! A user of the operating system, with a home folder as the system assigns one, and without
//! `--home`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{bridge, program, within};

/// The first user id of the cases. No system assigns these ids, and none of them has a session.
const FIRST_USER_ID: u32 = 61_700;

/// Returns true if processes can run as other users. Only root can do that.
pub(crate) fn can_switch_users() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user. All its processes stop when it is dropped.
pub(crate) struct OsUser {
    id: u32,
    home: PathBuf,
    program: PathBuf,
}

impl OsUser {
    /// Creates the user `number` with this `config.toml`.
    pub(crate) fn new(folder: &Path, number: u32, config: &str) -> Self {
        let id = FIRST_USER_ID + number;
        assert!(
            !Path::new(&format!("/run/user/{id}")).exists(),
            "there is a user {id}"
        );
        let home = folder.join(format!("user-{number}"));
        let settings = home.join(".config/postern");
        fs::create_dir_all(&settings).expect("a folder");
        fs::write(settings.join("config.toml"), config).expect("a configuration");
        bridge::write_key_file(&home.join(".local/state/postern/vault"));
        let program = installed(folder);
        let user = Self { id, home, program };
        user.take(&user.home);
        fs::set_permissions(&user.home, fs::Permissions::from_mode(0o700)).expect("private");
        user
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of the sockets.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.home.join(".local/state/postern/run")
    }

    /// Makes the user the owner of a folder and its content.
    pub(crate) fn take(&self, folder: &Path) {
        let owner = format!("{0}:{0}", self.id);
        let status = std::process::Command::new("chown")
            .args(["-R", &owner])
            .arg(folder)
            .status();
        assert!(status.expect("chown").success(), "{}", folder.display());
    }

    /// Returns a command that runs as this user with only this environment.
    pub(crate) fn command(&self, program: &str, environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", program::search_path())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .uid(self.id)
            .gid(self.id);
        command
    }

    /// Returns `postern` with these arguments.
    pub(crate) fn postern(&self, arguments: &[&str], environment: &[(&str, String)]) -> Command {
        let program = self.program.to_str().expect("a path");
        let mut command = self.command(program, environment);
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn output(mut command: Command, input: &str) -> Output {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program");
        let mut stdin = process.stdin.take().expect("stdin");
        // Most programs read nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = within("a program", process.wait_with_output()).await;
        ended.expect("its end")
    }

    /// Runs `postern` as at a terminal and returns its output.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> String {
        let output = Self::output(self.postern(arguments, &[]), input).await;
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {problem}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Returns the bridge's state, as `postern status` shows it in a plain environment.
    pub(crate) async fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"], "").await).expect("JSON")
    }

    /// Returns the bridge's process id.
    pub(crate) async fn bridge(&self) -> u32 {
        let process = self.status().await["bridge"]["pid"].as_u64();
        let process = process.expect("a process");
        u32::try_from(process).expect("a process")
    }

    /// Returns the process ids of all bridges of this user.
    pub(crate) fn bridges(&self) -> Vec<u32> {
        let mut processes = program::processes_with(&self.program.display().to_string());
        processes.retain(|process| {
            program::owner(*process) == Some(self.id)
                && program::arguments(*process).contains(" bridge ")
        });
        processes
    }
}

impl Drop for OsUser {
    fn drop(&mut self) {
        for process in program::processes_with(&self.program.display().to_string()) {
            if program::owner(process) == Some(self.id) {
                program::kill(process);
            }
        }
    }
}

/// Installs the command line where every user can run it.
fn installed(folder: &Path) -> PathBuf {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, open.clone()).expect("a folder for all");
    let programs = folder.join("bin");
    fs::create_dir_all(&programs).expect("a folder");
    let postern = program::postern();
    for program in [postern, &postern.with_file_name("postern-shim")] {
        let place = programs.join(program.file_name().expect("a program"));
        if !place.exists() {
            fs::hard_link(program, &place)
                .or_else(|_| fs::copy(program, &place).map(drop))
                .expect("a program is installed");
        }
    }
    programs.join("postern")
}
