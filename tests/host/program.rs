//! The spawned program: its input lines, its output lines, and its exit.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// The timeout of every step. It is shorter than the suite's, so that the host can report what is
/// missing.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A program that speaks MCP on stdio. It is killed when this value is dropped.
pub(crate) struct Program {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Spawns the program with these arguments, only this environment, and our stderr.
    pub(crate) fn spawn(
        program: &str,
        arguments: impl IntoIterator<Item = String>,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot spawn {program}"))?;
        let input = process.stdin.take().context("no stdin")?;
        let output = process.stdout.take().context("no stdout")?;
        Ok(Self {
            process,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) -> Result<()> {
        let line = format!("{message}\n");
        let written = self.input.write_all(line.as_bytes()).await;
        written.context("the program does not read")
    }

    /// Waits for a message.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        let line = timeout(TIMEOUT, self.output.next_line()).await;
        let line = line.context("the program says nothing")??;
        let line = line.context("the program has ended")?;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))
    }

    /// Closes stdin and waits for the program's exit.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = timeout(TIMEOUT, self.process.wait()).await;
        let status = status.context("the program does not end with its stdin")??;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }
}
