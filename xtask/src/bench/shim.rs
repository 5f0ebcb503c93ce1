//! A minimal host that spawned the shim.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{messages, world::World};

pub(super) struct Shim {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl Shim {
    /// Spawns the shim and performs the handshake. Returns after the response to `initialize`.
    pub(super) fn connect(world: &World) -> Result<Self> {
        let folder = world.folder.as_os_str();
        let mut process = world
            .postern(&["connect", "snippets"])
            .env_clear()
            .envs([("HOME", folder), ("PATH", "/usr/bin:/bin".as_ref())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the shim cannot be started")?;
        let input = process.stdin.take().context("no input")?;
        let output = BufReader::new(process.stdout.take().context("no output")?);
        let mut shim = Self {
            process,
            input,
            output,
            last_id: 0,
        };
        shim.send(&messages::handshake())?;
        shim.answer(0)?;
        shim.send(messages::INITIALIZED)?;
        Ok(shim)
    }

    pub(super) fn call(&mut self) -> Result<()> {
        self.last_id += 1;
        self.send(&messages::call(self.last_id))?;
        let answer = self.answer(self.last_id)?;
        ensure!(
            answer["result"]["content"].is_array(),
            "not an answer: {answer}"
        );
        Ok(())
    }

    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Ends the shim as hosts do: closes its stdin.
    pub(super) fn end(self) -> Result<()> {
        let Self {
            mut process, input, ..
        } = self;
        drop(input);
        process.wait()?;
        Ok(())
    }

    fn send(&mut self, message: &str) -> Result<()> {
        self.input.write_all(message.as_bytes())?;
        self.input.write_all(b"\n")?;
        Ok(self.input.flush()?)
    }

    fn answer(&mut self, id: u64) -> Result<Value> {
        loop {
            let mut line = String::new();
            ensure!(self.output.read_line(&mut line)? > 0, "the shim ended");
            let message: Value = serde_json::from_str(&line)?;
            if message["id"] == id {
                return Ok(message);
            }
        }
    }
}
