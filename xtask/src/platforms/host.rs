//! A host on Windows. It runs the command in its configuration file, and uses MCP with it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::wine::Wine;

/// How long a response may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host and the shim that it spawned.
pub(super) struct Host {
    shim: Child,
    stdin: ChildStdin,
    /// The shim's output lines. The channel closes at the end of stdout.
    lines: Receiver<String>,
    next_id: u32,
}

impl Host {
    /// Spawns the command in an entry of `mcpServers`, and performs the handshake.
    ///
    /// # Errors
    ///
    /// If it does not respond as an MCP server does.
    pub(super) fn spawn(wine: &Wine, entry: &Value) -> Result<Self> {
        let command = entry["command"].as_str().context("no command")?;
        let arguments = entry["args"].as_array().context("no arguments")?;
        let mut shim = wine
            .program(command)
            .args(arguments.iter().filter_map(Value::as_str))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = shim.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(shim.stdout.take().context("no stdout")?);
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            // The receiver is dropped when the host has read enough.
            lines.map(|line| heard.send(line)).all(|sent| sent.is_ok())
        });
        let mut host = Self {
            shim,
            stdin,
            lines,
            next_id: 0,
        };
        let client = json!({ "name": "xtask", "version": "0" });
        host.ask(
            "initialize",
            &json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client }),
        )?;
        host.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(host)
    }

    /// Calls a tool and returns the text of its result.
    ///
    /// # Errors
    ///
    /// If the call or the connection to the shim fails.
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Result<String> {
        let result = self.ask(
            "tools/call",
            &json!({ "name": tool, "arguments": arguments }),
        )?;
        ensure!(result["isError"] != true, "{tool} failed: {result}");
        let text = result["content"][0]["text"].as_str();
        Ok(text.context("the tool said nothing")?.to_owned())
    }

    /// Ends the session as hosts do. The shim must exit, and no process may keep its stdout open.
    ///
    /// # Errors
    ///
    /// If the shim runs on or its stdout stays open.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.stdin);
        let more = self.lines.recv_timeout(PATIENCE);
        ensure!(
            more == Err(mpsc::RecvTimeoutError::Disconnected),
            "the shim's stdout goes on after its end: {more:?}"
        );
        let status = self.shim.wait()?;
        ensure!(status.success(), "the shim ended with {status}");
        Ok(())
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.with_context(|| format!("no answer to {method}"))?;
            let message: Value = serde_json::from_str(&line)
                .with_context(|| format!("stdout contains a line that is not MCP: {line}"))?;
            if message["id"] == id {
                let result = message.get("result").cloned();
                return result.with_context(|| format!("{method} failed: {message}"));
            }
        }
    }

    fn say(&mut self, message: &Value) -> Result<()> {
        writeln!(self.stdin, "{message}").context("the shim reads no more")
    }
}
