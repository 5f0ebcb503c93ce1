//! A separate network for measurements of several servers. It has only loopback, one processor for the
//! measured server, and one for everything else.
//!
//! Owns: starting this program in that network, and the choice of processors. Does not own: the
//! measurements.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::steps::run;

/// The first argument of this program in that network.
pub(super) const WITHIN: &str = "within";

/// Enables loopback, raises the limit of descriptors to the maximum, and continues.
const SETUP: &str = r#"ip link set lo up && ulimit -n "$(ulimit -Hn)" && exec "$@""#;

/// The numbers of the two processors.
#[derive(Clone, Copy)]
pub(super) struct Processors {
    /// The processor of the measured server.
    pub(super) server: u32,
    /// The processor of clients, backends and everything else.
    pub(super) others: u32,
}

/// Runs `bench gateway ARGUMENTS` in a separate network.
pub(super) fn enter(arguments: &[&str]) -> Result<()> {
    let Processors { server, others } = Processors::of_this_machine()?;
    let mut command = Command::new("unshare");
    if !is_root()? {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--", "sh", "-c", SETUP, "sh"])
        .args(["taskset", "--cpu-list", &others.to_string()])
        .arg(this_program()?)
        .args(["bench", "gateway", WITHIN])
        .args([server.to_string(), others.to_string()])
        .args(arguments);
    run(&mut command)
}

/// Returns the command that runs this program with `bench gateway ARGUMENTS` on a processor.
pub(super) fn ourselves(processor: u32, arguments: &[&str]) -> Result<Command> {
    let mut command = on(processor, this_program()?);
    command.args(["bench", "gateway"]).args(arguments);
    Ok(command)
}

/// Returns the command of a program that stays on one processor. The process id is that of the
/// program.
pub(super) fn on(processor: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &processor.to_string()])
        .arg(program);
    command
}

/// Returns how many files and connections a process may have.
pub(super) fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits").context("cannot read the limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let soft = soft.context("no limit of open files")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}

impl Processors {
    /// Returns the first two processors that this process may use.
    fn of_this_machine() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read the status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("no list of processors")?;
        let allowed = numbers(list.trim())?;
        ensure!(
            allowed.len() >= 2,
            "the server that is measured needs a processor of its own, and this machine has one"
        );
        Ok(Self {
            server: allowed[0],
            others: allowed[1],
        })
    }
}

/// Parses a list of numbers such as `0-3,8`.
fn numbers(list: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>()?..=last.parse()?);
    }
    Ok(numbers)
}

fn this_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output()?;
    Ok(id.stdout.trim_ascii() == b"0")
}
