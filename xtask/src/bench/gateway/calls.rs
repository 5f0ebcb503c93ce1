//! The cost of a call: directly, through nginx, through HAProxy and through a gateway.
//!
//! Each has one worker on the same processor. They are loaded in turn, several times, so that other
//! load of the machine affects all equally. The results are medians. The client and the backend share
//! another processor. nginx compares a token, HAProxy verifies a signature, and the gateway opens a
//! sealed token of a live session. All three log each request to a file, or none does.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    echo,
    load::{self, Endpoint, Figures},
    loopback::Processors,
    proxies,
    server::{Server, memory},
    site::{Logging, Setting, Site},
};
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// The indices in [`CONNECTIONS`] at which the duration of a call and the processor time are compared.
const ONE: usize = 0;
const SIXTEEN: usize = 1;

const ROUNDS: usize = 5;
const LENGTH: Duration = Duration::from_secs(2);

/// A server under load.
struct Candidate {
    name: &'static str,
    endpoint: Endpoint,
    processes: Vec<u32>,
    /// The results of each round, by the number of connections.
    figures: [Vec<Figures>; CONNECTIONS.len()],
    /// Its memory after the last round.
    memory: u64,
}

pub(super) fn measure(processors: Processors, logging: Logging) -> Result<()> {
    let folder = proxies::folder()?;
    let backend = echo::start(processors.others)?;
    let alone = echo::start(processors.server)?;
    let at = backend.address;
    let most = CONNECTIONS[CONNECTIONS.len() - 1];
    let nginx = proxies::nginx(processors.server, &folder, at, most, logging)?;
    let haproxy = proxies::haproxy(processors.server, &folder, at, logging)?;
    let site = Site::with(Setting {
        backend: Some(echo::endpoint(&backend)),
        processor: Some(processors.server),
        logging,
        ..Setting::default()
    })?;
    let session = site.sign_in()?;
    let mut candidates = [
        Candidate::new("echo", &alone, "/mcp", "none")?,
        Candidate::new("nginx", &nginx.server, "/mcp", &nginx.token)?,
        Candidate::new("HAProxy", &haproxy.server, "/mcp", &haproxy.token)?,
        Candidate {
            name: "Postern",
            endpoint: Endpoint {
                address: site.address()?,
                path: "/echo/mcp",
                token: session.access,
            },
            processes: vec![site.process()?],
            figures: Default::default(),
            memory: 0,
        },
    ];
    for _ in 0..ROUNDS {
        for (number, connections) in CONNECTIONS.into_iter().enumerate() {
            for candidate in &mut candidates {
                let figures = load::calls(
                    &candidate.endpoint,
                    connections,
                    LENGTH,
                    &candidate.processes,
                );
                let figures = figures.with_context(|| format!("{} fails", candidate.name))?;
                candidate.figures[number].push(figures);
            }
        }
    }
    for candidate in &mut candidates {
        candidate.memory = memory(&candidate.processes)?;
    }
    print(&candidates, logging);
    Ok(())
}

impl Candidate {
    fn new(name: &'static str, server: &Server, path: &'static str, token: &str) -> Result<Self> {
        Ok(Self {
            name,
            endpoint: Endpoint {
                address: server.address,
                path,
                token: token.to_owned(),
            },
            processes: server.processes()?,
            figures: Default::default(),
            memory: 0,
        })
    }

    /// Returns the median of each result.
    fn at(&self, number: usize) -> Figures {
        let median = |of: fn(&Figures) -> f64| {
            let mut all: Vec<_> = self.figures[number].iter().map(of).collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        let time = |of| Duration::from_secs_f64(median(of));
        Figures {
            p50: time(|figures| figures.p50.as_secs_f64()),
            p99: time(|figures| figures.p99.as_secs_f64()),
            rate: median(|figures| figures.rate),
            cpu: time(|figures| figures.cpu.as_secs_f64()),
        }
    }
}

fn print(candidates: &[Candidate; 4], logging: Logging) {
    let lines = match logging {
        Logging::Lines => "a line in a log for each request",
        Logging::Nothing => "no request is logged",
    };
    println!("\nOne worker each; {lines}; medians of {ROUNDS} rounds.\n");
    println!(
        "{:<10} {:>11} {:>10} {:>10} {:>12} {:>14}",
        "", "connections", "p50", "p99", "requests", "CPU a request"
    );
    for candidate in candidates {
        for (number, connections) in CONNECTIONS.into_iter().enumerate() {
            let Figures {
                p50,
                p99,
                rate,
                cpu,
            } = candidate.at(number);
            println!(
                "{:<10} {connections:>11} {:>10} {:>10} {:>12} {:>14}",
                candidate.name,
                micros(p50, 0),
                micros(p99, 0),
                format!("{rate:.0} /s"),
                micros(cpu, 1),
            );
        }
    }
    println!("\n{:<10} {:>24}", "", "memory (PSS) after that");
    for candidate in candidates {
        let mebibytes = candidate.memory as f64 / f64::from(1 << 20);
        println!("{:<10} {mebibytes:>20.1} MiB", candidate.name);
    }
    let [_, nginx, haproxy, postern] = candidates;
    println!(
        "\n{:<18} {:>26} {:>24}",
        "", "CPU a request, 16 conn.", "p50, 1 connection"
    );
    for other in [nginx, haproxy] {
        let name = format!("Postern/{}", other.name);
        let cpu = postern
            .at(SIXTEEN)
            .cpu
            .div_duration_f64(other.at(SIXTEEN).cpu);
        let p50 = postern.at(ONE).p50.div_duration_f64(other.at(ONE).p50);
        println!("{name:<18} {cpu:>26.2} {p50:>24.2}");
    }
}

fn micros(time: Duration, digits: usize) -> String {
    format!("{:.digits$} us", time.as_secs_f64() * 1e6)
}
