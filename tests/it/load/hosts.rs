//! Hosts that call a tool at a steady pace and measure the latency.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::harness::{bridge::Bridge, shim::Shim, wire::Streamable};

/// The time from one call of a host to the next.
pub(super) const PACE: Duration = Duration::from_millis(50);

/// The state that the hosts share with the case.
pub(super) struct Progress {
    /// The phase of calls that begin now.
    pub(super) phase: watch::Sender<usize>,
    /// How many calls were answered.
    pub(super) answered: watch::Sender<u64>,
    /// Whether the hosts must end.
    pub(super) is_over: watch::Sender<bool>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            phase: watch::Sender::new(0),
            answered: watch::Sender::new(0),
            is_over: watch::Sender::new(false),
        }
    }

    /// Returns once `hosts` hosts have made the calls of this time.
    pub(super) async fn pass(&self, time: Duration, hosts: usize) {
        let calls = time.as_millis() / PACE.as_millis() * hosts as u128;
        let until = *self.answered.borrow() + u64::try_from(calls).expect("few calls");
        let mut answered = self.answered.subscribe();
        let reached = answered.wait_for(|answered| *answered >= until).await;
        reached.expect("the count");
    }
}

/// The latency of each call, with the phase in which it began.
#[derive(Default)]
pub(super) struct Times(Vec<(usize, Duration)>);

impl Times {
    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the median, the 99th percentile and the maximum of these phases.
    pub(super) fn of(&self, phases: std::ops::Range<usize>) -> Percentiles {
        let mut times: Vec<_> = self
            .0
            .iter()
            .filter(|(phase, _)| phases.contains(phase))
            .collect();
        times.sort_unstable_by_key(|(_, time)| *time);
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1));
        let at = |share| at(share).map_or(Duration::ZERO, |(_, time)| *time);
        Percentiles {
            calls: times.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
pub(super) struct Percentiles {
    calls: usize,
    p50: Duration,
    pub(super) p99: Duration,
    max: Duration,
}

/// A host of either transport.
enum Host {
    Stdio(Box<Shim>),
    Http(Box<Streamable>),
}

impl Host {
    async fn call(&mut self, key: &str) -> Result<String, Value> {
        let arguments = json!({ "key": key });
        match self {
            Self::Stdio(shim) => shim.call("echo", arguments).await,
            Self::Http(host) => host.call("echo", arguments).await,
        }
    }
}

/// Calls at the pace of a host until the end. Returns the latencies.
pub(super) async fn call_over_stdio(
    bridge: Arc<Bridge>,
    name: String,
    progress: Arc<Progress>,
) -> Times {
    let mut host = Host::Stdio(Box::new(Shim::connect(&bridge, "calm").await));
    let times = call(&mut host, &name, &progress).await;
    if let Host::Stdio(shim) = host {
        assert_no_second_answer(&shim.notifications);
        assert_no_second_answer(&shim.end().await);
    }
    times
}

/// The same over Streamable HTTP.
pub(super) async fn call_over_http(url: String, name: String, progress: Arc<Progress>) -> Times {
    let host = Streamable::connect(&url, HeaderMap::new()).await;
    call(&mut Host::Http(Box::new(host)), &name, &progress).await
}

async fn call(host: &mut Host, name: &str, progress: &Progress) -> Times {
    let mut times = Times::default();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*progress.is_over.borrow() {
        pace.tick().await;
        let key = format!("{name}-{}", times.count());
        let (phase, begun) = (*progress.phase.borrow(), Instant::now());
        let answer = host.call(&key).await;
        assert_eq!(answer.as_deref(), Ok(key.as_str()), "{name}");
        times.0.push((phase, begun.elapsed()));
        progress.answered.send_modify(|answered| *answered += 1);
    }
    times
}

/// Checks that the remaining messages of a shim contain no response.
fn assert_no_second_answer(said: &[Value]) {
    let second = said.iter().find(|message| message.get("method").is_none());
    assert_eq!(second, None, "an answer that was not waited for");
}

/// A host that reads long responses as lines.
pub(super) struct LoadHost(Shim);

impl LoadHost {
    pub(super) async fn connect(bridge: &Bridge, server: &str) -> Self {
        Self(Shim::connect(bridge, server).await)
    }

    /// Calls a tool and reads until its response, one line per tick of `pace`. Returns how many
    /// lines came before the response.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value, pace: Duration) -> usize {
        let id = self.send_request(tool, arguments).await;
        self.read(id, pace).await
    }

    /// Calls a tool and reads nothing.
    pub(super) async fn send_request(&mut self, tool: &str, arguments: Value) -> u64 {
        let params = json!({ "name": tool, "arguments": arguments });
        self.0.send_request("tools/call", params).await
    }

    /// Requests the list of tools and returns its length.
    pub(super) async fn list(&mut self) -> usize {
        let id = self.0.send_request("tools/list", json!({})).await;
        loop {
            let line = self.0.line().await;
            if answers(&line, id) {
                return line.len();
            }
        }
    }

    /// Sends a batch of `count` requests and reads the responses.
    pub(super) async fn array(&mut self, count: usize) {
        let request =
            |number| json!({ "jsonrpc": "2.0", "id": format!("a{number}"), "method": "ping" });
        let array: Vec<_> = (0..count).map(request).collect();
        self.0.send_raw(json!(array).to_string().as_bytes()).await;
        let mut answered = BTreeSet::new();
        while answered.len() < count {
            let answer = self.0.next().await;
            let id = answer["id"].as_str().expect("an id").to_owned();
            assert!(
                answer.get("result").is_some() && answered.insert(id),
                "{answer}"
            );
        }
    }

    /// Sends a line and reads one.
    pub(super) async fn exchange(&mut self, line: &[u8]) -> String {
        self.0.send_raw(line).await;
        self.0.line().await
    }

    /// Reads until the response to `id`. Returns how many lines came before it.
    pub(super) async fn read(&mut self, id: u64, pace: Duration) -> usize {
        let mut pace = tokio::time::interval(pace.max(Duration::from_micros(1)));
        let mut others = 0;
        loop {
            pace.tick().await;
            if answers(&self.0.line().await, id) {
                return others;
            }
            others += 1;
        }
    }

    pub(super) async fn end(self) {
        self.0.end().await;
    }
}

/// Returns true if a line is the response to this request. The server writes the id before the
/// result.
fn answers(line: &str, id: u64) -> bool {
    let begin = line.get(..200).unwrap_or(line);
    begin.contains(&format!(r#""id":{id},"#)) && !begin.contains(r#""method""#)
}
