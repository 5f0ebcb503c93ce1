//! `cargo xtask bench gateway floods [SECONDS]`: what signed-in users notice while anonymous visitors
//! send as much as they can, a minute of each kind by default.
//! `cargo xtask bench gateway store`: what the same operations take with a thousand, a hundred thousand
//! and a million sessions.
//!
//! A gateway, an emulated Entra and a server that gives back what it is given, each a process or a
//! thread of this machine: the floods and what is measured share its processors.

mod floods;
mod site;
mod store;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Report;
use crate::{steps::run, tree::cargo};

const FLOOD: Duration = Duration::from_secs(60);

pub(super) fn main(arguments: &[String]) -> Result<()> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut report = Report::default();
    let build = || run(&mut cargo(&["build", "--release", "-p", "postern"]));
    match words[..] {
        ["floods"] => {
            build()?;
            floods::measure(FLOOD, &mut report)?;
        }
        ["floods", seconds] => {
            let seconds = seconds.parse().context("not a number of seconds")?;
            build()?;
            floods::measure(Duration::from_secs(seconds), &mut report)?;
        }
        ["store"] => {
            build()?;
            store::measure(&mut report)?;
        }
        _ => bail!("`bench gateway` has `floods [SECONDS]` and `store`"),
    }
    report.finish()
}

/// The time that a share of a hundred of the times is not over.
fn percentile(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times
        .get((times.len() * share / 100).min(last))
        .copied()
        .unwrap_or_default()
}
