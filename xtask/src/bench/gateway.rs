//! `cargo xtask bench gateway`: what a gateway costs, and what it endures.
//!
//! - `calls [unlogged]`: what a call costs through a gateway, beside nginx, HAProxy and no proxy at all.
//! - `streams`: the memory of event streams on which nothing comes, beside nginx.
//! - `floods [SECONDS]`: what signed-in users notice while anonymous visitors send as much as they can,
//!   a minute of each kind by default.
//! - `connections [SECONDS]`: the same while visitors hold connections or misuse them.
//! - `store`: what operations take with a thousand, a hundred thousand and a million sessions.
//!
//! `--no-build` in front of them measures the release build that is there.
//!
//! A gateway, an emulated Entra and a server that gives back what it is given, each a process or a
//! thread of this machine: the floods and what is measured share its processors. `calls`, `streams` and
//! `connections` run in a network of their own (`loopback`), with a processor for the server that is
//! measured and one for all else.

mod attack;
mod calls;
mod connections;
mod echo;
mod floods;
mod jwt;
mod load;
mod loopback;
mod proxies;
mod server;
mod site;
mod store;
mod streams;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::{loopback::Processors, site::Logging};
use super::Report;
use crate::{install, need, steps::run, tree::cargo};

const FLOOD: Duration = Duration::from_secs(60);

pub(super) fn main(arguments: &[String]) -> Result<()> {
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [loopback::WITHIN, server, others, ref rest @ ..] => {
            let processors = Processors {
                server: server.parse()?,
                others: others.parse()?,
            };
            within(processors, rest)
        }
        [echo::NAME, address] => echo::serve(address),
        [attack::NAME, name, target] => attack::run(name, target),
        ["--no-build", ref rest @ ..] => measure(rest),
        _ => {
            run(&mut cargo(&["build", "--release", "-p", "postern"]))?;
            measure(&words)
        }
    }
}

fn measure(words: &[&str]) -> Result<()> {
    let mut report = Report::default();
    match words {
        ["calls"] | ["calls", "unlogged"] | ["streams"] | ["connections"] | ["connections", _] => {
            install::ensure(need::GATEWAY_BENCH)?;
            return loopback::enter(words);
        }
        ["floods"] => floods::measure(FLOOD, &mut report)?,
        ["floods", length] => floods::measure(seconds(length)?, &mut report)?,
        ["store"] => store::measure(&mut report)?,
        _ => bail!(
            "`bench gateway` has `calls [unlogged]`, `streams`, `floods [SECONDS]`, \
             `connections [SECONDS]` and `store`"
        ),
    }
    report.finish()
}

/// Runs the measurements that need their own network.
fn within(processors: Processors, words: &[&str]) -> Result<()> {
    let mut report = Report::default();
    match words {
        ["calls"] => return calls::measure(processors, Logging::Lines),
        ["calls", "unlogged"] => return calls::measure(processors, Logging::Nothing),
        ["streams"] => streams::measure(processors, &mut report)?,
        ["connections"] => connections::measure(processors, FLOOD, &mut report)?,
        ["connections", length] => {
            connections::measure(processors, seconds(length)?, &mut report)?;
        }
        _ => bail!("unknown measurement in a separate network"),
    }
    report.finish()
}

fn seconds(words: &str) -> Result<Duration> {
    let seconds = words.parse().context("not a number of seconds")?;
    Ok(Duration::from_secs(seconds))
}

/// Returns the percentile `share` of the times.
fn percentile(times: &mut [Duration], share: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times
        .get((times.len() * share / 100).min(last))
        .copied()
        .unwrap_or_default()
}
