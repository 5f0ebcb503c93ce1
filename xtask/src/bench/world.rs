//! The demo, in release build, with a signed-in user.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::tree;

/// The demo. It ends when this value is dropped.
pub(super) struct World {
    demo: Child,
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    /// The gateway's URL.
    pub(super) gateway: String,
    /// The bridge's own Streamable HTTP endpoint.
    pub(super) endpoint: String,
    /// The bridge's process.
    pub(super) bridge: u32,
}

impl World {
    pub(super) fn start() -> Result<Self> {
        let program = tree::root().join("target/release/postern");
        // The path is short because of the sockets in it. It is emptied, because a run begins with a
        // sign-in.
        let folder = tree::root().join("target/bench");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("cannot empty target/bench")?;
        }
        fs::create_dir_all(&folder)?;
        let mut demo = Command::new(&program)
            .args(["demo", "--scripted", "--keep", "--home"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the demo cannot be started")?;
        let output = demo.stdout.take().context("no output")?;
        let said = until_ready(output)?;
        let after = |line: &str, marker: &str| {
            said.lines()
                .find_map(|one| one.trim_start().strip_prefix(line)?.split_once(marker))
                .map(|(_, rest)| marker.to_owned() + rest)
                .with_context(|| format!("the demo did not say where its {line} is"))
        };
        let gateway = first_word(&after("gateway", "http://")?);
        let endpoint = first_word(&after("Streamable HTTP", "http://")?);
        let bridge = after("bridge", "process ")?;
        let bridge = first_word(bridge.trim_start_matches("process ")).parse()?;
        Ok(Self {
            demo,
            program,
            folder,
            gateway,
            endpoint,
            bridge,
        })
    }

    /// Returns the command `postern` with `arguments`, in this demo.
    pub(super) fn postern(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--home").arg(self.home());
        command
    }

    fn home(&self) -> &Path {
        &self.folder
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Ends it gracefully, because the demo ends the bridge, which is a separate process.
        let process = self.demo.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.demo.wait();
    }
}

/// Reads until the demo has signed in and prints what to try.
fn until_ready(output: impl std::io::Read + Send + 'static) -> Result<String> {
    let mut lines = BufReader::new(output).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if line.starts_with("Try, in another terminal") {
            // The rest is not needed, but the pipe must not fill.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(said);
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("the demo ended:\n{said}");
}

fn first_word(text: &str) -> String {
    let end = text.find([' ', ',']).unwrap_or(text.len());
    text[..end].to_owned()
}
