//! A host that uses the standard streams of any bridge that it spawned.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::messages;

/// A bridge that has not answered everything within this time has stalled and is killed.
const STALL: Duration = Duration::from_secs(60);

pub(super) struct Pipe {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl Pipe {
    /// Spawns the bridge and performs the handshake. Also returns how long that took.
    pub(super) fn connect(mut command: Command) -> Result<(Self, Duration)> {
        let started = Instant::now();
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let input = process.stdin.take().context("no input")?;
        let output = process.stdout.take().context("no output")?;
        let mut pipe = Self {
            process,
            input,
            output: BufReader::with_capacity(1 << 16, output),
            last_id: 0,
        };
        let dog = Watchdog::over(pipe.process());
        send(&mut pipe.input, &messages::handshake())?;
        pipe.answer("\"result\"")?;
        let took = started.elapsed();
        send(&mut pipe.input, messages::INITIALIZED)?;
        drop(dog);
        Ok((pipe, took))
    }

    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Makes one call whose response repeats the text. Returns its duration.
    pub(super) fn call(&mut self, text: &str, times: usize) -> Result<Duration> {
        self.last_id += 1;
        let id = self.last_id;
        let call = messages::echo(id, text, times);
        let started = Instant::now();
        send(&mut self.input, &call)?;
        self.answer(&format!("\"id\":{id}"))?;
        Ok(started.elapsed())
    }

    /// Makes `count` calls, of which `depth` are pending at any time. Returns the total duration.
    pub(super) fn calls(&mut self, count: u64, depth: usize, text: &str) -> Result<Duration> {
        let _dog = Watchdog::over(self.process());
        let first = self.last_id + 1;
        self.last_id += count;
        let calls: Vec<_> = (first..=self.last_id)
            .map(|id| messages::echo(id, text, 1))
            .collect();
        let (permit, permits) = mpsc::sync_channel(depth);
        let started = Instant::now();
        let Self { input, output, .. } = self;
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                calls.iter().try_for_each(|call| {
                    permit.send(())?;
                    send(input, call)
                })
            });
            for _ in 0..count {
                answer(output, "\"result\"")?;
                permits.recv()?;
            }
            writer.join().unwrap_or(Ok(()))
        })?;
        Ok(started.elapsed())
    }

    /// Ends the bridge as hosts do: closes its stdin. Kills it if it stays.
    pub(super) fn end(self) -> Result<()> {
        let Self {
            mut process, input, ..
        } = self;
        let _dog = Watchdog::over(process.id());
        drop(input);
        process.wait()?;
        Ok(())
    }

    fn answer(&mut self, part: &str) -> Result<()> {
        answer(&mut self.output, part)
    }
}

/// Kills a bridge that stalls, unless this value is dropped before.
struct Watchdog(#[expect(dead_code, reason = "its end is what counts")] mpsc::Sender<()>);

impl Watchdog {
    fn over(process: u32) -> Self {
        let (alive, end) = mpsc::channel();
        thread::spawn(move || {
            if end.recv_timeout(STALL) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("no response within {} s, so it is killed", STALL.as_secs());
                let process = process.to_string();
                let _ = Command::new("kill").args(["-KILL", &process]).status();
            }
        });
        Self(alive)
    }
}

fn send(input: &mut ChildStdin, message: &str) -> Result<()> {
    let mut line = Vec::with_capacity(message.len() + 1);
    line.extend_from_slice(message.as_bytes());
    line.push(b'\n');
    Ok(input.write_all(&line)?)
}

fn answer(output: &mut BufReader<ChildStdout>, part: &str) -> Result<()> {
    let mut line = String::new();
    ensure!(output.read_line(&mut line)? > 0, "the bridge ended");
    let is_answer = line.contains(part) && line.contains("\"result\"");
    ensure!(is_answer, "not the answer: {line:.200}");
    Ok(())
}
