//! The bridge as a process of its own, and its management API.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use control::{
    Client, Home,
    api::{Reply, Request, State},
};
use tokio::{io::AsyncWriteExt, process::Command};

use super::{fake_browser::FakeBrowser, program, within};

/// A folder for a bridge, and the bridge that runs there, if any.
pub(crate) struct Bridge {
    root: PathBuf,
    home: Home,
    pub(crate) browser: FakeBrowser,
}

impl Bridge {
    /// Creates a home with this `config.toml`. Nothing runs in it yet.
    pub(crate) fn configured(folder: &Path, config: &str) -> Self {
        let root = folder.join("home");
        let home = Home::under(&root).expect("a home");
        let file = home.config_file();
        fs::create_dir_all(file.with_file_name("")).expect("a folder");
        fs::write(&file, config).expect("a configuration");
        write_key_file(&home.vault_dir());
        Self {
            browser: FakeBrowser::listen(folder),
            root,
            home,
        }
    }

    /// Starts the bridge and returns once it listens.
    pub(crate) async fn start(&self) {
        self.run(&["bridge", "--detach"]).await;
    }

    /// Runs a shell command, then starts the bridge from that shell. Returns once the bridge
    /// listens.
    pub(crate) async fn start_after(&self, before: &str) {
        let mut process = Command::new("sh");
        process
            .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
            .arg(program::postern());
        let output = self.output_of(process, &["bridge", "--detach"], "").await;
        assert!(output.status.success(), "{output:?}");
    }

    /// Starts another bridge that replaces this one, as an update does. Returns once it listens.
    pub(crate) async fn replace(&self) {
        self.run(&["bridge", "--detach", "--replace"]).await;
    }

    /// Runs a command as a user at a terminal and returns its output. Fails if the command does.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        self.run_with(arguments, "").await
    }

    /// The same with `input` on stdin.
    pub(crate) async fn run_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input).await;
        assert!(
            output.status.success(),
            "postern {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that may fail.
    pub(crate) async fn try_run(&self, arguments: &[&str]) {
        self.output(arguments, "").await;
    }

    /// Runs a command and returns its output and exit status.
    pub(crate) async fn output(&self, arguments: &[&str], input: &str) -> Output {
        let process = Command::new(program::postern());
        self.output_of(process, arguments, input).await
    }

    async fn output_of(&self, mut process: Command, arguments: &[&str], input: &str) -> Output {
        let mut process = process
            .args(arguments)
            .arg("--home")
            .arg(&self.root)
            .env_clear()
            .env("HOME", &self.root)
            .env("PATH", program::search_path())
            .env("BROWSER", self.browser.program())
            .env("POSTERN_LOG", "trace")
            .env("POSTERN_VAULT", "file")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("postern starts");
        let mut stdin = process.stdin.take().expect("stdin");
        // Most commands read nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let ended = within("postern", process.wait_with_output()).await;
        ended.expect("postern ends")
    }

    /// The home folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the vault.
    pub(crate) fn vault(&self) -> PathBuf {
        self.home.vault_dir()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.log_file()).expect("a log")
    }

    /// Connects to the management API, as the command line does.
    pub(crate) async fn connect(&self) -> Client {
        let connecting = Client::connect(&self.home, env!("CARGO_PKG_VERSION"), false);
        within("the control socket", connecting)
            .await
            .expect("a bridge that runs")
    }

    /// Returns the process id.
    pub(crate) async fn process(&self) -> u32 {
        self.connect().await.welcome().pid
    }

    /// Returns the process ids of all bridges with this home.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut processes = program::processes_with(&self.root.display().to_string());
        processes.retain(|process| program::arguments(*process).contains(" bridge "));
        processes
    }

    /// Sends a request to the management API. Fails on an error.
    pub(crate) async fn request(&self, request: Request) -> Reply {
        let mut client = self.connect().await;
        within("an answer", client.call(&request))
            .await
            .unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// Signs out all accounts.
    pub(crate) async fn sign_out(&self) {
        self.request(Request::SignOut {
            account: None,
            everywhere: false,
        })
        .await;
    }

    /// Returns the current state.
    pub(crate) async fn state(&self) -> State {
        match self.request(Request::Status).await {
            Reply::State(state) => *state,
            other => panic!("not a state: {other:?}"),
        }
    }

    /// Kills the bridge, as `kill -9` does, and returns once it is gone.
    pub(crate) async fn kill(&self) {
        let process = self.connect().await.welcome().pid;
        program::kill(process);
        // One of its sockets may stay open a moment longer than the other.
        let gone = async {
            while !program::is_gone(process) {
                tokio::task::yield_now().await;
            }
        };
        within("its end", gone).await;
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Includes bridges that shims started: all have this folder in their arguments.
        for process in program::processes_with(&self.root.display().to_string()) {
            program::kill(process);
        }
    }
}

/// Writes a key file. A bridge that a shim starts does not get `POSTERN_VAULT`, so the file selects
/// this vault beforehand.
pub(super) fn write_key_file(vault: &Path) {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).expect("random bytes");
    fs::create_dir_all(vault).expect("a folder");
    fs::write(vault.join("key"), key).expect("a key");
    for (path, mode) in [(vault.to_owned(), 0o700), (vault.join("key"), 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("private");
    }
}
