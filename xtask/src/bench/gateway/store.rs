//! The durations of operations with many sessions in the store.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection as Database;

use super::super::{
    Report,
    direct::{self, Tokens},
    http::Connection,
};
use super::{percentile, site::Site};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

/// How often each operation is measured.
const TIMES: usize = 500;

/// How many of the sessions have expired when the gateway starts.
const EXPIRED: u64 = 500;

/// How long a start may take, and the removal of expired rows.
const MAX_START: Duration = Duration::from_secs(2);

/// How much slower the largest store may be than the smallest.
const MAX_SLOWER: u32 = 2;

const REDIRECT: &str = "http://127.0.0.1:7777/cb";

/// The operations, as the report names them.
const OPERATIONS: [&str; 3] = ["register", "authorize", "token"];

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let mut site = Site::start()?;
    let mut tokens = site.sign_in()?;
    let mut first: Option<[Duration; 3]> = None;
    let mut there = 0;
    for size in SIZES {
        site.stop_gateway()?;
        fill(&Database::open(site.database())?, there, size)?;
        there = size;
        let started = site.start_gateway()?;
        report.time(&format!("{size}: start"), started, Some(MAX_START));
        let swept = sweep(&site)?;
        report.time(&format!("{size}: sweep"), swept, Some(MAX_START));
        let mut times = operations(&site, &mut tokens, size)?;
        let p99 = times.each_mut().map(|times| percentile(times, 99));
        for (number, name) in OPERATIONS.into_iter().enumerate() {
            let p50 = percentile(&mut times[number], 50);
            report.time(&format!("{size}: {name}, p50"), p50, None);
            let limit = first.map(|first| first[number] * MAX_SLOWER);
            report.time(&format!("{size}: {name}, p99"), p99[number], limit);
        }
        first.get_or_insert(p99);
    }
    Ok(())
}

/// Fills the store up to this number of sessions: ten of each user, with ten clients, each with a
/// refresh token and a used one.
fn fill(database: &Database, from: u64, to: u64) -> Result<()> {
    database.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF")?;
    database.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE numbers (i INTEGER PRIMARY KEY);
         WITH RECURSIVE n (i) AS (VALUES ({from}) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})
         INSERT INTO numbers SELECT i FROM n;
         CREATE TEMP TABLE ends AS
             SELECT unixepoch() + 86400 AS later, unixepoch() - 1 AS gone, unixepoch() AS now;
         INSERT INTO people SELECT 'p' || (i / 10), '{{}}' FROM numbers WHERE i % 10 = 0;
         INSERT INTO clients (id, redirect_uris, registered_at, used_at, seen_at)
             SELECT 'c' || (i / 10), '[\"{REDIRECT}\"]', now, now, now
             FROM numbers, ends WHERE i % 10 = 0;
         INSERT INTO consents
             SELECT 'k' || i, 'p' || (i / 10), 'c' || (i / 100 * 10 + i % 10), '{REDIRECT}', 'echo',
                    'mcp', now, later
             FROM numbers, ends;
         INSERT INTO sessions (id, consent, person, client, server, scopes, upstream,
                               upstream_expires_at, expires_at)
             SELECT 's' || i, 'k' || i, 'p' || (i / 10), 'c' || (i / 100 * 10 + i % 10), 'echo', 'mcp',
                    'sealed', now, CASE WHEN i < {from} + {EXPIRED} THEN gone ELSE later END
             FROM numbers, ends;
         INSERT INTO refresh_tokens
             SELECT CAST('t' || i AS BLOB), 's' || i, 'c', later, NULL, NULL, NULL
             FROM numbers, ends;
         INSERT INTO refresh_tokens
             SELECT CAST('u' || i AS BLOB), 's' || i, 'c', later, now, CAST('t' || i AS BLOB), NULL
             FROM numbers, ends;
         DROP TABLE numbers;
         DROP TABLE ends;
         COMMIT;"
    ))?;
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// Returns how long after its start the gateway has removed the expired rows.
fn sweep(site: &Site) -> Result<Duration> {
    let begun = Instant::now();
    let database = Database::open(site.database())?;
    database.busy_timeout(Duration::from_secs(5))?;
    loop {
        let is_left: bool = database.query_row(
            "SELECT EXISTS (SELECT 1 FROM sessions WHERE expires_at <= unixepoch())",
            [],
            |row| row.get(0),
        )?;
        if !is_left {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < Duration::from_secs(120), "not swept");
        thread::sleep(Duration::from_millis(5));
    }
}

fn operations(site: &Site, tokens: &mut Tokens, size: u64) -> Result<[Vec<Duration>; 3]> {
    let (mut connection, _) = Connection::open(&site.url)?;
    let mut times = [const { Vec::new() }; 3];
    for number in 0..TIMES {
        let started = Instant::now();
        let name = format!("client {size} {number}");
        let client = direct::register(&mut connection, &name, REDIRECT, &[])?;
        times[0].push(started.elapsed());
        let started = Instant::now();
        let path = direct::authorize_path(&client, REDIRECT, None);
        let page = connection.get(&path, &[])?;
        times[1].push(started.elapsed());
        ensure!(page.status == 200, "no consent page: {}", page.status);
        let started = Instant::now();
        let form = format!(
            "grant_type=refresh_token&client_id={}&refresh_token={}",
            tokens.client, tokens.refresh
        );
        let answer = connection.post("/token", &direct::form(), &form)?;
        times[2].push(started.elapsed());
        tokens.refresh = direct::text(&answer, "refresh_token").context("a refresh")?;
    }
    Ok(times)
}
