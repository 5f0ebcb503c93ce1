//! `cargo xtask bench bridge`: measures the relay, a client without it, and other bridges.
//!
//! Everything is measured in one run, with one server that returns its input. A result of Postern that
//! exceeds its limit fails the command. Other bridges have no limits.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Report, direct::Direct, pipe::Pipe, process, process::Cpu, upstream::Upstream};
use crate::{
    steps::run,
    tree::{self, cargo},
};

const CALLS: usize = 3_000;
const WARM_UP: usize = 100;
const STARTS: usize = 20;
const MANY: u64 = 20_000;
const SESSIONS: [usize; 3] = [10, 500, 1_000];
const KILOBYTE: usize = 1 << 10;
const MEGABYTE: usize = 1 << 20;

const CALL: Duration = Duration::from_micros(130);
const CALL_CPU: Duration = Duration::from_micros(60);
const FACE: Duration = Duration::from_micros(60);
const FACE_CPU: Duration = Duration::from_micros(40);
const LARGE: Duration = Duration::from_millis(12);
const START: Duration = Duration::from_millis(15);
const RATE: u64 = 20_000;
const SHIM_BYTES: u64 = 4 << 20;
const SHIM_SHARE: u64 = 2 << 20;
const FIFTY_BYTES: u64 = 150 << 20;

/// Another bridge: its name, and its command, in which `{url}` stands for the server's URL.
struct Peer {
    name: String,
    command: Vec<String>,
}

pub(super) fn main(arguments: &[String]) -> Result<()> {
    let peers = peers(arguments)?;
    run(&mut cargo(&["build", "--release", "-p", "postern"]))?;
    let upstream = Upstream::start()?;
    let bridge = Bridge::start(&upstream)?;
    let mut report = Report::default();
    faces(&upstream, &bridge, &mut report)?;
    shim(&bridge, &mut report)?;
    framings(&bridge, &mut report)?;
    many_shims(&bridge, &mut report)?;
    drop(bridge);
    // A new process, so that memory of earlier measurements does not count.
    many_sessions(&Bridge::start(&upstream)?, &mut report)?;
    for peer in &peers {
        // A failure of another program does not fail the command.
        if let Err(error) = others(peer, &upstream, &mut report) {
            println!("{}: {error:#}", peer.name);
        }
    }
    report.finish()
}

/// Parses `--peer NAME=COMMAND`, once per other bridge.
fn peers(arguments: &[String]) -> Result<Vec<Peer>> {
    let usage = "hint: --peer 'name=command {url}', as in --peer 'mcp-remote=mcp-remote {url}'";
    let mut peers = Vec::new();
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let peer = rest.next().filter(|_| flag == "--peer");
        let Some((name, command)) = peer.and_then(|peer| peer.split_once('=')) else {
            bail!("unknown argument `{flag}`; {usage}");
        };
        if !command.contains("{url}") {
            bail!("the command of {name} does not contain {{url}}; {usage}");
        }
        peers.push(Peer {
            name: name.to_owned(),
            command: command.split_whitespace().map(str::to_owned).collect(),
        });
    }
    Ok(peers)
}

/// Measures direct calls, and calls through the bridge's HTTP endpoint.
fn faces(upstream: &Upstream, bridge: &Bridge, report: &mut Report) -> Result<()> {
    let text = "x".repeat(KILOBYTE);
    let mut floor = Direct::unauthenticated(&upstream.json())?;
    let mut face = Direct::unauthenticated(&bridge.endpoint("json"))?;
    for _ in 0..WARM_UP {
        floor.echo(&text)?;
        face.echo(&text)?;
    }
    // Alternates, because the speed of the machine changes from second to second.
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    let mut cpu = Duration::ZERO;
    for _ in 0..10 {
        timed(CALLS / 10, &mut straight, || floor.echo(&text))?;
        let before = Cpu::of(bridge.process())?;
        timed(CALLS / 10, &mut through, || face.echo(&text))?;
        cpu += Cpu::of(bridge.process())?.since(&before);
    }
    let (straight, through) = (p50(straight), p50(through));
    report.time("floor: straight to the server, 1 KB, p50", straight, None);
    report.time("HTTP face, 1 KB, p50", through, None);
    let above = through.saturating_sub(straight);
    report.time("HTTP face above the floor", above, Some(FACE));
    let cpu = cpu / u32::try_from(CALLS)?;
    report.time("HTTP face: CPU of the bridge, each", cpu, Some(FACE_CPU));
    Ok(())
}

/// Measures calls through shim and bridge.
fn shim(bridge: &Bridge, report: &mut Report) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let (shim, start) = Pipe::connect(bridge.connect("json"))?;
        took.push(start);
        shim.end()?;
    }
    report.time("shim: spawn to initialize, p50", p50(took), Some(START));

    let (mut shim, _) = Pipe::connect(bridge.connect("json"))?;
    let memory = process::memory(shim.process())?;
    report.bytes("shim: resident", memory.resident, Some(SHIM_BYTES));
    report.bytes("shim: proportional share", memory.share, Some(SHIM_SHARE));
    let processes = [shim.process(), bridge.process()];
    let figures = Figures::of(&mut shim, &processes)?;
    figures.report("shim", true, report);
    let text = "x".repeat(KILOBYTE);
    let took = shim.calls(MANY, 256, &text)?;
    report.rate("shim: 256 in flight", rate(MANY, took), None);
    let ten = "x".repeat(10 * KILOBYTE);
    let large = large(&mut shim, &ten, KILOBYTE)?;
    report.time("shim: 10 MiB answer", large, Some(figures.large * 13));
    shim.end()
}

/// Measures responses in event streams, and a server of HTTP+SSE.
fn framings(bridge: &Bridge, report: &mut Report) -> Result<()> {
    let names = ["json", "events", "sse"];
    let mut shims = Vec::new();
    for name in names {
        let (mut shim, _) = Pipe::connect(bridge.connect(name))?;
        for _ in 0..WARM_UP {
            shim.call(&"x".repeat(KILOBYTE), 1)?;
        }
        shims.push(shim);
    }
    let text = "x".repeat(KILOBYTE);
    let mut times = [const { Vec::new() }; 3];
    let mut cpu = [Duration::ZERO; 3];
    for _ in 0..10 {
        for (at, shim) in shims.iter_mut().enumerate() {
            let processes = [shim.process(), bridge.process()];
            let before = Cpu::of_all(&processes)?;
            for _ in 0..CALLS / 10 {
                times[at].push(shim.call(&text, 1)?);
            }
            cpu[at] += Cpu::of_all(&processes)?.since(&before);
        }
    }
    let cpu = cpu.map(|cpu| cpu / (CALLS as u32));
    let [json, events, sse] = times.map(p50);
    let limit = |figure: Duration| Some(figure * 13 / 10);
    report.time("framing: JSON, p50", json, None);
    report.time("framing: event streams, p50", events, limit(json));
    report.time("framing: HTTP+SSE, p50", sse, limit(json));
    report.time("framing: JSON, CPU each", cpu[0], None);
    report.time("framing: event streams, CPU each", cpu[1], limit(cpu[0]));
    report.time("framing: HTTP+SSE, CPU each", cpu[2], limit(cpu[0]));
    shims.into_iter().try_for_each(Pipe::end)
}

/// Measures the cost of idle connected hosts.
fn many_shims(bridge: &Bridge, report: &mut Report) -> Result<()> {
    let mut shims = Vec::new();
    for _ in 0..50 {
        shims.push(Pipe::connect(bridge.connect("json"))?.0);
    }
    std::thread::sleep(super::IDLE);
    let mut share = process::memory(bridge.process())?.share;
    for shim in &shims {
        share += process::memory(shim.process())?.share;
    }
    report.bytes(
        "fifty shims and the bridge, share",
        share,
        Some(FIFTY_BYTES),
    );
    shims.into_iter().try_for_each(Pipe::end)
}

/// Measures the cost of a session with ten, five hundred and a thousand of them: memory, and processor
/// time per call.
fn many_sessions(bridge: &Bridge, report: &mut Report) -> Result<()> {
    let text = "x".repeat(KILOBYTE);
    let mut sessions = Vec::new();
    let mut memory = Vec::new();
    let mut cpu = Vec::new();
    for count in SESSIONS {
        while sessions.len() < count {
            sessions.push(Direct::unauthenticated(&bridge.endpoint("json"))?);
        }
        for session in &mut sessions {
            session.echo(&text)?;
        }
        memory.push(process::memory(bridge.process())?.share);
        let before = Cpu::of(bridge.process())?;
        for at in 0..CALLS {
            sessions[at % count].echo(&text)?;
        }
        cpu.push(Cpu::of(bridge.process())?.since(&before) / u32::try_from(CALLS)?);
    }
    let each = |at: usize| {
        let (more, count) = (
            memory[at + 1].saturating_sub(memory[at]),
            SESSIONS[at + 1] - SESSIONS[at],
        );
        more / count as u64
    };
    let flat = |figure: u64| figure * 13 / 10;
    report.bytes("a session among five hundred, share", each(0), None);
    report.bytes(
        "a session among a thousand, share",
        each(1),
        Some(flat(each(0))),
    );
    report.time("a call among ten sessions, CPU", cpu[0], None);
    report.time(
        "a call among a thousand, CPU",
        cpu[2],
        Some(cpu[0] * 13 / 10),
    );
    Ok(())
}

/// Measures another bridge over its standard streams.
fn others(peer: &Peer, upstream: &Upstream, report: &mut Report) -> Result<()> {
    let command = || {
        let mut words = peer
            .command
            .iter()
            .map(|word| word.replace("{url}", &upstream.json()));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    };
    let mut took = Vec::new();
    for _ in 0..5 {
        let (pipe, start) = Pipe::connect(command())?;
        took.push(start);
        pipe.end()?;
    }
    let name = peer.name.as_str();
    report.time(
        &format!("{name}: spawn to initialize, p50"),
        p50(took),
        None,
    );
    let (mut pipe, _) = Pipe::connect(command())?;
    let memory = process::memory(pipe.process())?;
    report.bytes(&format!("{name}: resident"), memory.resident, None);
    let processes = [pipe.process()];
    let figures = Figures::of(&mut pipe, &processes)?;
    figures.report(name, false, report);
    pipe.end()
}

/// The results of every bridge.
struct Figures {
    call: Duration,
    cpu: Duration,
    rate: u64,
    large: Duration,
}

impl Figures {
    fn of(pipe: &mut Pipe, processes: &[u32]) -> Result<Self> {
        let text = "x".repeat(KILOBYTE);
        for _ in 0..WARM_UP {
            pipe.call(&text, 1)?;
        }
        let before = Cpu::of_all(processes)?;
        let mut took = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            took.push(pipe.call(&text, 1)?);
        }
        let cpu = Cpu::of_all(processes)?.since(&before) / u32::try_from(CALLS)?;
        let many = pipe.calls(MANY, 64, &text)?;
        Ok(Self {
            call: p50(took),
            cpu,
            rate: rate(MANY, many),
            large: large(pipe, &text, KILOBYTE)?,
        })
    }

    fn report(&self, name: &str, is_ours: bool, report: &mut Report) {
        let limit = |limit: Duration| is_ours.then_some(limit);
        report.time(&format!("{name}: 1 KB, p50"), self.call, limit(CALL));
        report.time(
            &format!("{name}: 1 KB, CPU each"),
            self.cpu,
            limit(CALL_CPU),
        );
        let rate = is_ours.then_some(RATE);
        report.rate(&format!("{name}: 64 in flight"), self.rate, rate);
        report.time(&format!("{name}: 1 MiB answer"), self.large, limit(LARGE));
    }
}

/// Measures a response that repeats `text`. Returns the shortest of five durations.
fn large(pipe: &mut Pipe, text: &str, times: usize) -> Result<Duration> {
    debug_assert!(text.len() * times >= MEGABYTE);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        best = best.min(pipe.call(text, times)?);
    }
    Ok(best)
}

fn timed(
    count: usize,
    took: &mut Vec<Duration>,
    mut call: impl FnMut() -> Result<()>,
) -> Result<()> {
    for _ in 0..count {
        let started = Instant::now();
        call()?;
        took.push(started.elapsed());
    }
    Ok(())
}

fn p50(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

/// Returns the rate per second.
fn rate(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64()) as u64
}

/// A separate bridge, with the server three times in its configuration. It ends when this value is
/// dropped.
struct Bridge {
    process: Child,
    home: PathBuf,
    endpoint: String,
}

impl Bridge {
    fn start(upstream: &Upstream) -> Result<Self> {
        let home = tree::root().join("target/bench");
        if home.exists() {
            fs::remove_dir_all(&home).context("cannot empty target/bench")?;
        }
        fs::create_dir_all(home.join("config"))?;
        let servers = [
            ("json", upstream.json(), "http"),
            ("events", upstream.events(), "http"),
            ("sse", upstream.sse(), "sse"),
        ];
        let mut config = "version = 1\n[bridge]\nport = 0\n".to_owned();
        for (name, url, transport) in servers {
            config += &format!(
                "[servers.{name}]\nurl = \"{url}\"\ntransport = \"{transport}\"\nauth = {{ kind = \"none\" }}\n"
            );
        }
        fs::write(home.join("config/config.toml"), config)?;
        let process = postern(&home, &["bridge"])
            .env("POSTERN_VAULT", "file")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the bridge cannot be started")?;
        let mut bridge = Self {
            process,
            home,
            endpoint: String::new(),
        };
        bridge.endpoint = bridge.until_ready()?;
        Ok(bridge)
    }

    /// Waits until the HTTP endpoint is open. Returns its URL.
    fn until_ready(&self) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let status = postern(&self.home, &["status", "--json"]).output()?;
            let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
            if let Some(endpoint) = status["bridge"]["http"].as_str() {
                return Ok(endpoint.to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the bridge did not come up within 10 s")
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn endpoint(&self, server: &str) -> String {
        format!("{}/{server}/mcp", self.endpoint)
    }

    /// Returns the command of the shim, with the environment that hosts pass on.
    fn connect(&self, server: &str) -> Command {
        let mut command = postern(&self.home, &["connect", server]);
        command.env_clear();
        command.env("HOME", &self.home).env("PATH", "/usr/bin:/bin");
        command
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let process = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.process.wait();
    }
}

fn postern(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(tree::root().join("target/release/postern"));
    command.args(arguments).arg("--home").arg(home);
    command
}
