//! What signed-in users and new visitors notice while others hold connections or misuse them.
//!
//! A gateway with default limits has one worker on its own processor, and restarts for each attack.
//! Calls of signed-in users use one connection that stays open. A new visitor opens a connection for
//! each request of `/healthz`. Neither may fail.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    super::{Report, direct::Direct, http::Connection},
    attack::{Attack, Running},
    loopback::Processors,
    percentile,
    server::memory,
    site::{Setting, Site},
};

const QUIET: Duration = Duration::from_secs(10);

/// The interval of a user's calls, of new visitors, and of memory measurements.
const CALL_INTERVAL: Duration = Duration::from_millis(5);
const VISIT_INTERVAL: Duration = Duration::from_millis(20);
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// How long a gateway may recover after an attack.
const CALM: Duration = Duration::from_secs(5);

/// The measured effects on users.
struct Figures {
    calls: Times,
    visits: Times,
    /// The gateway's peak memory.
    peak: u64,
}

/// The durations of successful attempts.
#[derive(Default)]
struct Times {
    each: Vec<Duration>,
    failures: u64,
}

pub(super) fn measure(processors: Processors, length: Duration, report: &mut Report) -> Result<()> {
    let mut site = Site::with(Setting {
        // There is no proxy: each connection counts for its own address.
        lines: String::new(),
        processor: Some(processors.server),
        ..Setting::default()
    })?;
    let token = site.sign_in()?.access;
    let figures = watch(&site, &token, QUIET)?;
    print("quiet", figures, report);
    for attack in Attack::ALL {
        // The remains of one attack must not affect the next one.
        site.stop_gateway()?;
        site.start_gateway()?;
        let name = attack.name();
        let overflows_before = accept_overflows()?;
        let running = Running::start(attack, processors.others, site.address()?)?;
        let figures = watch(&site, &token, length)?;
        println!("{name}: {}", running.end()?);
        let overflows = accept_overflows()? - overflows_before;
        print(name, figures, report);
        report.count(&format!("{name}: accept queue overflows"), overflows, None);
        thread::sleep(CALM);
        let after = memory(&[site.process()?])?;
        report.bytes(&format!("{name}: memory afterwards"), after, None);
    }
    Ok(())
}

/// Returns how often a listener's queue was full when a client connected. The client retries a second
/// later.
fn accept_overflows() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat").context("cannot read /proc/net/netstat")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let found = pairs.find(|(name, _)| *name == "ListenOverflows");
    let (_, value) = found.context("no ListenOverflows")?;
    Ok(value.parse()?)
}

/// Sends calls and visits for this duration.
fn watch(site: &Site, token: &str, length: Duration) -> Result<Figures> {
    let (is_over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let process = site.process()?;
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(memory(&[process])?, Ordering::Relaxed);
                thread::sleep(MEMORY_INTERVAL);
            }
            anyhow::Ok(())
        });
        let visits = scope.spawn(|| visits(&site.url, length));
        let calls = calls(&site.endpoint(), token, length);
        let visits = visits.join().expect("no panic");
        is_over.store(true, Ordering::Relaxed);
        watching.join().expect("no panic")?;
        Ok(Figures {
            calls,
            visits,
            peak: peak.load(Ordering::Relaxed),
        })
    })
}

/// Calls on a connection that stays open. Opens it again after a failure.
fn calls(endpoint: &str, token: &str, length: Duration) -> Times {
    let mut caller = None;
    paced(length, CALL_INTERVAL, || {
        let mut open = match caller.take() {
            Some(open) => open,
            None => Direct::with_token(endpoint, token)?,
        };
        let begun = Instant::now();
        open.echo("x")?;
        caller = Some(open);
        Ok(begun.elapsed())
    })
}

fn visits(url: &str, length: Duration) -> Times {
    paced(length, VISIT_INTERVAL, || {
        let begun = Instant::now();
        let (mut connection, _) = Connection::open(url)?;
        let answer = connection.get("/healthz", &[])?;
        ensure!(answer.status == 200, "not healthy: {}", answer.status);
        Ok(begun.elapsed())
    })
}

fn paced(length: Duration, interval: Duration, mut act: impl FnMut() -> Result<Duration>) -> Times {
    let begun = Instant::now();
    let mut times = Times::default();
    while begun.elapsed() < length {
        let started = Instant::now();
        match act() {
            Ok(took) => times.each.push(took),
            Err(error) => {
                eprintln!(
                    "failed after {:.1} s: {error:#}",
                    begun.elapsed().as_secs_f64()
                );
                times.failures += 1;
            }
        }
        thread::sleep(interval.saturating_sub(started.elapsed()));
    }
    times
}

fn print(name: &str, figures: Figures, report: &mut Report) {
    let Figures {
        calls,
        visits,
        peak,
    } = figures;
    for (what, mut times) in [("signed-in call", calls), ("new visitor", visits)] {
        for (shown, share) in [("p50", 50), ("p99", 99), ("max", 100)] {
            let time = percentile(&mut times.each, share);
            report.time(&format!("{name}: {what}, {shown}"), time, None);
        }
        report.count(
            &format!("{name}: {what}, failures"),
            times.failures,
            Some(0),
        );
    }
    report.bytes(&format!("{name}: memory (PSS), largest"), peak, None);
}
