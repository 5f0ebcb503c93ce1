//! The spawned program: lines in, lines out, and its end.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long anything may take: less than the suite waits, so that the host can still say what
/// did not come.
const LONGEST: Duration = Duration::from_secs(20);

/// A program that speaks MCP on stdio. It is killed with this value, unless it has ended.
pub(crate) struct Program {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Spawns it with these arguments and this environment, and nothing else of ours but stderr.
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
        let line = timeout(LONGEST, self.output.next_line()).await;
        let line = line.context("the program says nothing")??;
        let line = line.context("the program has ended")?;
        serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))
    }

    /// Says nothing more, and waits for the program's end.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.input);
        let status = timeout(LONGEST, self.process.wait()).await;
        let status = status.context("the program does not end with its stdin")??;
        ensure!(status.success(), "the program ended with {status}");
        Ok(())
    }
}
