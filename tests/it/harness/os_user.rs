//! A user of the machine, with a home folder as the system gives one, and no `--home`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{bridge, program, within};

/// Users that no system has, nor a session of theirs.
const FIRST: u32 = 61_700;

/// Whether there can be any: only root can be several users.
pub(crate) fn can_switch_users() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user. What runs in this name ends with this value.
pub(crate) struct OsUser {
    id: u32,
    home: PathBuf,
    program: PathBuf,
}

impl OsUser {
    /// The user number `number` of this machine, with this `config.toml`.
    pub(crate) fn new(folder: &Path, number: u32, config: &str) -> Self {
        let id = FIRST + number;
        assert!(
            !Path::new(&format!("/run/user/{id}")).exists(),
            "there is a user {id}"
        );
        let home = folder.join(format!("user-{number}"));
        let settings = home.join(".config/postern");
        fs::create_dir_all(&settings).expect("a folder");
        fs::write(settings.join("config.toml"), config).expect("a configuration");
        bridge::choose_key_file(&home.join(".local/state/postern/vault"));
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

    /// Gives the user a folder, and all that is in it.
    pub(crate) fn take(&self, folder: &Path) {
        let owner = format!("{0}:{0}", self.id);
        let status = std::process::Command::new("chown")
            .args(["-R", &owner])
            .arg(folder)
            .status();
        assert!(status.expect("chown").success(), "{}", folder.display());
    }

    /// A program that this user starts, with this environment and nothing else.
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

    /// `postern` with these arguments.
    pub(crate) fn postern(&self, arguments: &[&str], environment: &[(&str, String)]) -> Command {
        let program = self.program.to_str().expect("a path");
        let mut command = self.command(program, environment);
        command.args(arguments);
        command
    }

    /// Runs it to its end.
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

    /// Runs `postern` as at a terminal; what it says.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> String {
        let output = Self::output(self.postern(arguments, &[]), input).await;
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {problem}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What the bridge shows to a command without any particular environment.
    pub(crate) async fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"], "").await).expect("JSON")
    }

    /// The bridge's process.
    pub(crate) async fn bridge(&self) -> u32 {
        let process = self.status().await["bridge"]["pid"].as_u64();
        let process = process.expect("a process");
        u32::try_from(process).expect("a process")
    }

    /// All processes of this user that are bridges.
    pub(crate) fn bridges(&self) -> Vec<u32> {
        let mut processes = program::processes_with(&self.program.display().to_string());
        processes.retain(|process| {
            program::user(*process) == Some(self.id)
                && program::arguments(*process).contains(" bridge ")
        });
        processes
    }
}

impl Drop for OsUser {
    fn drop(&mut self) {
        for process in program::processes_with(&self.program.display().to_string()) {
            if program::user(process) == Some(self.id) {
                program::kill(process);
            }
        }
    }
}

/// The command line where every user may start it.
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
