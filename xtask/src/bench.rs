//! `cargo xtask bench`: measures the bridge and the shim, and for comparison a client without them.
//! `cargo xtask bench bridge` measures the relay alone, and other bridges if they are given (`relay`).
//! `cargo xtask bench gateway` measures what anonymous visitors can do to a gateway (`gateway`).
//!
//! Everything is measured in one run, with the release build and the demo. Results of different runs
//! or machines cannot be compared.

mod direct;
mod gateway;
mod http;
mod messages;
mod pipe;
mod process;
mod relay;
mod shim;
mod upstream;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    bench::{direct::Direct, process::Cpu, shim::Shim, world::World},
    no_arguments,
    steps::run,
    tree::cargo,
};

/// The promised limits.
const SHIM_BYTES: u64 = 5 * 1024 * 1024;
const BRIDGE_BYTES: u64 = 20 * 1024 * 1024;
const START: Duration = Duration::from_millis(30);

const STARTS: usize = 40;
const CALLS: usize = 1_000;
const WARM_UP: usize = 50;
/// How long nothing happens before memory counts as idle.
const IDLE: Duration = Duration::from_secs(3);

pub(crate) fn main(arguments: &[String]) -> Result<()> {
    match arguments.split_first() {
        Some((what, rest)) if what == "bridge" => relay::main(rest),
        Some((what, rest)) if what == "gateway" => gateway::main(rest),
        _ => {
            no_arguments(arguments)?;
            measure()
        }
    }
}

/// Builds, measures and prints.
///
/// # Errors
///
/// If a result exceeds its limit, or something fails.
pub(crate) fn measure() -> Result<()> {
    run(&mut cargo(&["build", "--release", "-p", "postern"]))?;
    let world = World::start()?;
    let mut report = Report::default();
    starts(&world, &mut report)?;
    memory(&world, &mut report)?;
    calls(&world, &mut report)?;
    report.finish()
}

/// Measures how long a host waits for its first response while the bridge runs.
fn starts(world: &World, report: &mut Report) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let shim = Shim::connect(world)?;
        took.push(started.elapsed());
        shim.end()?;
    }
    took.sort_unstable();
    report.time(
        "shim: spawn to initialize answer, p50",
        took[STARTS / 2],
        Some(START),
    );
    report.time(
        "shim: spawn to initialize answer, p95",
        took[STARTS * 95 / 100],
        None,
    );
    Ok(())
}

/// Measures the memory while one host is connected and idle.
fn memory(world: &World, report: &mut Report) -> Result<()> {
    let shim = Shim::connect(world)?;
    std::thread::sleep(IDLE);
    for (name, process, limit) in [
        ("shim", shim.process(), SHIM_BYTES),
        ("bridge", world.bridge, BRIDGE_BYTES),
    ] {
        let memory = process::memory(process)?;
        report.bytes(
            &format!("{name}: idle, resident"),
            memory.resident,
            Some(limit),
        );
        report.bytes(
            &format!("{name}: idle, proportional share"),
            memory.share,
            None,
        );
    }
    shim.end()
}

/// Measures the duration of a call: through shim and bridge, through the bridge's HTTP endpoint, and
/// directly to the gateway.
fn calls(world: &World, report: &mut Report) -> Result<()> {
    let mut shim = Shim::connect(world)?;
    let mut direct = Direct::sign_in(world)?;
    let mut face = Direct::unauthenticated(&world.endpoint)?;
    for _ in 0..WARM_UP {
        shim.call()?;
        direct.call()?;
        face.call()?;
    }
    report.time(
        "call: straight to the gateway, p50",
        median(|| direct.call())?,
        None,
    );
    report.time(
        "call: through the bridge's HTTP face, p50",
        median(|| face.call())?,
        None,
    );
    let before = [Cpu::of(shim.process())?, Cpu::of(world.bridge)?];
    report.time(
        "call: through shim and bridge, p50",
        median(|| shim.call())?,
        None,
    );
    let after = [Cpu::of(shim.process())?, Cpu::of(world.bridge)?];
    for (name, before, after) in [
        ("shim", &before[0], &after[0]),
        ("bridge", &before[1], &after[1]),
    ] {
        let each = (after.since(before)) / u32::try_from(CALLS)?;
        report.time(&format!("call: CPU of the {name}, each"), each, None);
    }
    shim.end()
}

fn median(mut call: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        call()?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Ok(took[CALLS / 2])
}

/// The results, and which of them exceed their limits.
#[derive(Default)]
struct Report {
    rows: Vec<[String; 3]>,
    broken: Vec<String>,
}

impl Report {
    fn time(&mut self, name: &str, value: Duration, limit: Option<Duration>) {
        let shown = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
        self.row(
            name,
            shown(value),
            limit.map(shown),
            limit.is_some_and(|limit| value > limit),
        );
    }

    fn bytes(&mut self, name: &str, value: u64, limit: Option<u64>) {
        let shown = |bytes: u64| format!("{:.2} MB", bytes as f64 / f64::from(1 << 20));
        self.row(
            name,
            shown(value),
            limit.map(shown),
            limit.is_some_and(|limit| value > limit),
        );
    }

    /// Adds a rate per second, with its minimum.
    fn rate(&mut self, name: &str, value: u64, limit: Option<u64>) {
        let shown = |rate: u64| format!("{rate} /s");
        let limit_shown = limit.map(|limit| format!("from {}", shown(limit)));
        let broken = limit.is_some_and(|limit| value < limit);
        self.row(name, shown(value), limit_shown, broken);
    }

    fn count(&mut self, name: &str, value: u64, limit: Option<u64>) {
        let limit_shown = limit.map(|limit| limit.to_string());
        let broken = limit.is_some_and(|limit| value > limit);
        self.row(name, value.to_string(), limit_shown, broken);
    }

    fn row(&mut self, name: &str, value: String, limit: Option<String>, broken: bool) {
        if broken {
            self.broken.push(name.to_owned());
        }
        self.rows
            .push([name.to_owned(), value, limit.unwrap_or_default()]);
    }

    fn finish(self) -> Result<()> {
        println!("\n{:<46} {:>12} {:>14}", "", "measured", "at most");
        for [name, value, limit] in &self.rows {
            println!("{name:<46} {value:>12} {limit:>14}");
        }
        if !self.broken.is_empty() {
            bail!("over the limit: {}", self.broken.join("; "));
        }
        Ok(())
    }
}
