//! Anonymous visitors that send as many requests as they can, from more addresses than any limit
//! counts.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::super::{
    Report,
    direct::{self, Direct},
    http::{Answer, Connection},
    process,
};
use super::{percentile, site::Site};

/// The number of connections of a flood.
const FLOODERS: u64 = 4;

/// The interval of the measured calls, and of the health checks.
const PACE: Duration = Duration::from_millis(5);

/// How long is measured without a flood.
const QUIET: Duration = Duration::from_secs(10);

const REDIRECT: &str = "http://127.0.0.1:7777/cb";

/// The promised limits: a multiple of the value without a flood, and a maximum.
const MAX_SLOWER: u32 = 3;
const MAX_HEALTH: Duration = Duration::from_millis(100);
const MAX_MEMORY: u64 = 200 << 20;

/// The requests of a flood.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// Authorization requests of a known client.
    Requests,
    /// Repeated approvals of one consent page.
    Approvals,
    /// Registrations of new clients.
    Registrations,
}

pub(super) fn measure(length: Duration, report: &mut Report) -> Result<()> {
    let site = Site::start()?;
    let tokens = site.sign_in()?;
    let mut caller = Direct::with_token(&site.endpoint(), &tokens.access)?;
    let mut quiet = calls(&mut caller, QUIET)?;
    let mut quiet_health = health(&site.url, QUIET / 4)?;
    let limit = percentile(&mut quiet, 99) * MAX_SLOWER;
    report.time("quiet: signed-in call, p99", limit / MAX_SLOWER, None);
    report.time(
        "quiet: /healthz, p99",
        percentile(&mut quiet_health, 99),
        None,
    );
    for (flood, name) in [
        (Flood::Requests, "authorize"),
        (Flood::Approvals, "approve"),
        (Flood::Registrations, "register"),
    ] {
        let waiting = Waiting::begin(&site)?;
        let figures = under(&site, flood, length, &mut caller)?;
        let [mut calls, mut health] = [figures.calls, figures.health];
        report.rate(
            &format!("{name}: flood"),
            figures.sent / length.as_secs().max(1),
            None,
        );
        report.time(
            &format!("{name}: signed-in call, p99"),
            percentile(&mut calls, 99),
            Some(limit),
        );
        report.time(
            &format!("{name}: /healthz, p99"),
            percentile(&mut health, 99),
            Some(MAX_HEALTH),
        );
        let memory = process::memory(site.process()?)?;
        report.bytes(
            &format!("{name}: gateway, resident"),
            memory.resident,
            Some(MAX_MEMORY),
        );
        waiting.goes_on(&site, name)?;
    }
    Ok(())
}

/// A new client, and a consent page that a user reads.
struct Waiting {
    client: String,
    form: Form,
}

/// The form of a consent page, and the cookie of its browser.
struct Form {
    request: String,
    cookie: String,
}

impl Waiting {
    fn begin(site: &Site) -> Result<Self> {
        let (mut connection, _) = Connection::open(&site.url)?;
        let client = direct::register(&mut connection, "waiting", REDIRECT, &[])?;
        let form = Form::open(&mut connection, &client)?;
        Ok(Self { client, form })
    }

    /// Checks that both are still valid.
    fn goes_on(&self, site: &Site, flood: &str) -> Result<()> {
        let (mut connection, _) = Connection::open(&site.url)?;
        let approved = self.form.approve(&mut connection, &site.url, &[])?;
        let to_entra = approved.header("location").unwrap_or_default();
        ensure!(
            approved.status == 303 && to_entra.contains("/oauth2/v2.0/authorize"),
            "{flood}: a consent page that was open is not good any more: {}",
            approved.status
        );
        Form::open(&mut connection, &self.client)
            .with_context(|| format!("{flood}: a new client is gone"))?;
        Ok(())
    }
}

impl Form {
    fn open(connection: &mut Connection, client: &str) -> Result<Self> {
        let path = direct::authorize_path(client, REDIRECT, None);
        let page = connection.get(&path, &[("accept".to_owned(), "text/html".to_owned())])?;
        ensure!(page.status == 200, "no consent page: {}", page.status);
        let request = page
            .body
            .split_once("name=\"request\" value=\"")
            .and_then(|(_, rest)| rest.split('"').next())
            .context("no form")?;
        let cookie = page.header("set-cookie").context("no cookie")?;
        Ok(Self {
            request: request.to_owned(),
            cookie: cookie.split(';').next().unwrap_or_default().to_owned(),
        })
    }

    fn approve(
        &self,
        connection: &mut Connection,
        origin: &str,
        more: &[(String, String)],
    ) -> Result<Answer> {
        let [content_type] = direct::form();
        let mut headers = vec![
            content_type,
            ("cookie".to_owned(), self.cookie.clone()),
            ("origin".to_owned(), origin.to_owned()),
        ];
        headers.extend_from_slice(more);
        let body = format!("answer=allow&request={}", direct::encoded(&self.request));
        connection.post("/consent", &headers, &body)
    }
}

struct Figures {
    calls: Vec<Duration>,
    health: Vec<Duration>,
    /// The flood's requests that were answered.
    sent: u64,
}

/// Measures during a flood.
fn under(site: &Site, flood: Flood, length: Duration, caller: &mut Direct) -> Result<Figures> {
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut connection, _) = Connection::open(&site.url)?;
    let client = direct::register(&mut connection, "flood", REDIRECT, &[])?;
    let form = Form::open(&mut connection, &client)?;
    thread::scope(|scope| {
        let flooders: Vec<_> = (0..FLOODERS)
            .map(|number| {
                let (client, form, is_over, sent) = (&client, &form, &is_over, &sent);
                scope.spawn(move || {
                    let mut flooder = Flooder::open(&site.url, number)?;
                    while !is_over.load(Ordering::Relaxed) {
                        flooder.send(flood, client, form)?;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let health = scope.spawn(|| health(&site.url, length));
        let calls = calls(caller, length);
        is_over.store(true, Ordering::Relaxed);
        let health = health.join().expect("no panic")?;
        for flooder in flooders {
            flooder.join().expect("no panic")?;
        }
        Ok(Figures {
            calls: calls?,
            health,
            sent: sent.load(Ordering::Relaxed),
        })
    })
}

struct Flooder {
    connection: Connection,
    origin: String,
    number: u64,
}

impl Flooder {
    fn open(url: &str, number: u64) -> Result<Self> {
        let (connection, _) = Connection::open(url)?;
        Ok(Self {
            connection,
            origin: url.to_owned(),
            number,
        })
    }

    /// Sends one request and reads the response. Each request comes from its own address.
    fn send(&mut self, flood: Flood, client: &str, form: &Form) -> Result<()> {
        self.number += FLOODERS;
        let address = std::net::Ipv4Addr::from_bits(u32::try_from(self.number * 256 % (1 << 31))?);
        let from = [("x-forwarded-for".to_owned(), address.to_string())];
        let status = match flood {
            Flood::Requests => {
                let path = direct::authorize_path(client, REDIRECT, None);
                self.connection.get(&path, &from)?.status
            }
            Flood::Approvals => {
                form.approve(&mut self.connection, &self.origin, &from)?
                    .status
            }
            Flood::Registrations => {
                let name = format!("flood {}", self.number);
                direct::register(&mut self.connection, &name, REDIRECT, &from)?;
                201
            }
        };
        ensure!(matches!(status, 200 | 201 | 303), "refused: {status}");
        Ok(())
    }
}

/// Calls at regular intervals. Returns the durations.
fn calls(caller: &mut Direct, length: Duration) -> Result<Vec<Duration>> {
    paced(length, || caller.echo("x"))
}

fn health(url: &str, length: Duration) -> Result<Vec<Duration>> {
    let (mut connection, _) = Connection::open(url)?;
    paced(length, || {
        let answer = connection.get("/healthz", &[])?;
        ensure!(answer.status == 200, "not healthy: {}", answer.status);
        Ok(())
    })
}

fn paced(length: Duration, mut act: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < length {
        let started = Instant::now();
        act()?;
        times.push(started.elapsed());
        thread::sleep(PACE.saturating_sub(started.elapsed()));
    }
    Ok(times)
}
