//! The resources of a process, as Linux reports them.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Memory in bytes.
pub(super) struct Memory {
    /// All pages in memory, including shared ones.
    pub(super) resident: u64,
    /// The same, with shared pages divided by the number of processes that share them.
    pub(super) share: u64,
}

pub(super) fn memory(process: u32) -> Result<Memory> {
    let place = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&place).with_context(|| format!("cannot read {place}"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse::<u64>()
                    .ok()
            })
            .map(|kilobytes| kilobytes * 1024)
            .with_context(|| format!("no {name} in {place}"))
    };
    Ok(Memory {
        resident: field("Rss:")?,
        share: field("Pss:")?,
    })
}

/// Processor time used so far.
pub(super) struct Cpu(Duration);

/// The unit of /proc, which is the same on all common Linux systems.
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    pub(super) fn of(process: u32) -> Result<Self> {
        let place = format!("/proc/{process}/stat");
        let text = fs::read_to_string(&place).with_context(|| format!("cannot read {place}"))?;
        // The name in parentheses may contain anything; user and system time are the 12th and
        // 13th field after it.
        let (_, fields) = text.rsplit_once(") ").context("no fields")?;
        let ticks = |at: usize| fields.split(' ').nth(at)?.parse::<u32>().ok();
        let used = ticks(11).zip(ticks(12)).context("no times")?;
        Ok(Self(TICK * (used.0 + used.1)))
    }

    /// Returns the total of several processes.
    pub(super) fn of_all(processes: &[u32]) -> Result<Self> {
        let each = processes.iter().map(|process| Ok(Self::of(*process)?.0));
        Ok(Self(each.sum::<Result<Duration>>()?))
    }

    pub(super) fn since(&self, before: &Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}
