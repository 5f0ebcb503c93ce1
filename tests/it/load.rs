//! Regular traffic of twenty hosts beside hosts and servers that put load on the bridge: each
//! request gets one response, and the bridge keeps no resources.
//!
//! Latencies are printed and not asserted, because other programs affect them. The latencies of two
//! hosts without the bridge are printed for comparison. `cargo xtask test --full` runs it for ten
//! minutes.

mod hosts;
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::header::HeaderMap;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Handle, Runtime},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::harness::{
    bridge::Bridge,
    disk::{self, Disk},
    program,
    shim::Shim,
    until,
    wire::Streamable,
    within,
};
use hosts::{LoadHost, PACE, Progress, Times};
use server::{ListLength, LoadServer};

/// Hosts that call at a steady pace, half over stdio and half over HTTP.
const HOSTS: usize = 20;

/// Hosts that do the same without the bridge.
const DIRECT_HOSTS: usize = 2;

/// How long the bridge is watched after the load: it returns free memory to the system every ten
/// seconds.
const REST: Duration = Duration::from_secs(12);

/// The bridge's maximum memory, in bytes.
const MAX_MEMORY: u64 = 300 << 20;

/// The maximum growth of its memory from the first round to the last, in bytes.
const MAX_GROWTH: u64 = 24 << 20;

/// How many more descriptors may be open than after the first round: connections that are closing.
const MAX_MORE_DESCRIPTORS: usize = 8;

/// The pace at which a slow host reads lines.
const SLOW: Duration = Duration::from_millis(200);

/// The durations and sizes of a run.
struct Size {
    /// The number of rounds with load.
    rounds: usize,
    /// The duration of a round. One round without load comes first.
    round: Duration,
    /// The size of a large response, event and list, in bytes.
    large: usize,
    /// The size of an unanswered request, in bytes.
    held: usize,
    /// The size of a line that exceeds the limit of a message, in bytes.
    overlong: usize,
}

impl Size {
    fn chosen() -> Self {
        match program::is_full() {
            true => Self {
                rounds: 5,
                round: Duration::from_secs(600 / 6),
                large: 50 << 20,
                held: 10 << 20,
                overlong: 200 << 20,
            },
            false => Self {
                rounds: 2,
                round: Duration::from_secs(2),
                large: 10 << 20,
                held: 1 << 20,
                overlong: 70 << 20,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bridge_under_load_answers_each_request_once_and_stays_small() {
    let size = Size::chosen();
    let load = Load::start(&size).await;
    let base = load
        .bridge
        .state()
        .await
        .bridge
        .http
        .expect("the port is open");
    let progress = Arc::new(Progress::new());
    let calm = load.calm_runtime.handle();
    let mut normal = JoinSet::new();
    for number in 0..HOSTS / 2 {
        let (bridge, name) = (Arc::clone(&load.bridge), format!("stdio{number}"));
        normal.spawn_on(
            hosts::call_over_stdio(bridge, name, Arc::clone(&progress)),
            calm,
        );
        let (url, name) = (format!("{base}/calm/mcp"), format!("http{number}"));
        normal.spawn_on(
            hosts::call_over_http(url, name, Arc::clone(&progress)),
            calm,
        );
    }
    let mut direct = JoinSet::new();
    for number in 0..DIRECT_HOSTS {
        let (url, name) = (load.calm.url("calm"), format!("direct{number}"));
        direct.spawn_on(
            hosts::call_over_http(url, name, Arc::clone(&progress)),
            calm,
        );
    }
    let peak = Peak::watch(load.bridge.process().await);
    progress.pass(size.round, HOSTS + DIRECT_HOSTS).await;
    let mut rests = Vec::new();
    for round in 1..=size.rounds {
        progress.phase.send_replace(round);
        load.round(&base, &size, &progress).await;
        // Calls between the rounds belong to no phase that is compared.
        progress.phase.send_replace(size.rounds + 1);
        // Wait for the calls that have begun.
        progress.pass(PACE, HOSTS + DIRECT_HOSTS).await;
        load.stop_bridge().await;
        rests.push(load.rest().await);
    }
    progress.is_over.send_replace(true);
    let times = collect_times(normal).await;
    let direct = collect_times(direct).await;
    assert_eq!(
        load.calm.assert_no_duplicate_calls(),
        times.count() + direct.count()
    );
    let peak = peak.end().await;
    for (who, times) in [("bridge", &times), ("direct", &direct)] {
        let (quiet, loaded) = (times.of(0..1), times.of(1..size.rounds + 1));
        println!("{who}, quiet: {quiet:?}\n{who}, loaded: {loaded:?}");
    }
    println!("peak {} MiB, at rest {rests:?}", peak >> 20);
    assert!(peak < MAX_MEMORY, "{} MiB", peak >> 20);
    let (first, last) = (&rests[0], &rests[size.rounds - 1]);
    assert!(last.memory <= first.memory + MAX_GROWTH, "{rests:?}");
    assert!(
        last.descriptors <= first.descriptors + MAX_MORE_DESCRIPTORS,
        "{rests:?}"
    );
    assert_eq!(last.process, first.process, "one bridge through it all");
}

async fn collect_times(mut hosts: JoinSet<Times>) -> Times {
    let mut times = Times::default();
    while let Some(done) = hosts.join_next().await {
        times.append(done.expect("a host"));
    }
    times
}

struct Load {
    /// The server of the regular hosts.
    calm: LoadServer,
    /// The server of the load.
    rough: LoadServer,
    bridge: Arc<Bridge>,
    /// Runs `calm` and the regular hosts, so that the load of this process does not delay them.
    calm_runtime: CalmRuntime,
    _folder: TempDir,
}

/// A runtime with one thread. It stops when it is dropped.
struct CalmRuntime(Option<Runtime>);

impl CalmRuntime {
    fn start() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        Self(Some(runtime.expect("a runtime")))
    }

    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it has not ended").handle()
    }
}

impl Drop for CalmRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Load {
    async fn start(size: &Size) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-")
            .tempdir()
            .expect("a temporary folder");
        let calm_runtime = CalmRuntime::start();
        let calm = calm_runtime.handle();
        let calm = calm.spawn(LoadServer::start(ListLength(size.large)));
        let calm = calm.await.expect("the server");
        let rough = LoadServer::start(ListLength(size.large)).await;
        let servers = [(&calm, "calm"), (&rough, "rough"), (&rough, "loud")];
        let servers = servers.map(|(server, name)| server.config(name)).concat();
        let config = format!("[bridge]\nport = 0\n{servers}");
        let bridge = Bridge::configured(folder.path(), &config);
        bridge.start_after(disk::IGNORE_SIGXFSZ).await;
        Self {
            calm,
            rough,
            bridge: Arc::new(bridge),
            calm_runtime,
            _folder: folder,
        }
    }

    /// Puts all loads on the bridge at once, until the regular hosts have made their calls.
    async fn round(&self, base: &str, size: &Size, progress: &Progress) {
        let over = Arc::new(AtomicBool::new(false));
        let disk = Disk::of(&self.bridge).await;
        disk.fill();
        let bridge = || (Arc::clone(&self.bridge), Arc::clone(&over));
        let large = size.large;
        let mut loads = JoinSet::new();
        let (to, is_over) = bridge();
        loads.spawn(slow_host(to, is_over, 3, large));
        for _ in 0..3 {
            let (to, is_over) = bridge();
            loads.spawn(slow_host(to, is_over, 20, 4 << 20));
        }
        let (to, is_over) = bridge();
        loads.spawn(lists(to, is_over));
        let (to, is_over) = bridge();
        loads.spawn(answers(to, is_over, large));
        let (to, is_over) = bridge();
        loads.spawn(arrays(to, is_over));
        let (to, is_over) = bridge();
        loads.spawn(coming_and_going(to, is_over));
        let (to, is_over) = bridge();
        loads.spawn(overlong_lines(to, is_over, size.overlong));
        loads.spawn(stalled_connections(base.to_owned(), Arc::clone(&over)));
        loads.spawn(bursts(base.to_owned(), Arc::clone(&over)));
        // Ends with the call that it holds.
        let progresses = tokio::spawn(progress_beside_large_call(
            bridge().0,
            Arc::clone(&over),
            size.held,
        ));

        progress.pass(size.round / 2, HOSTS + DIRECT_HOSTS).await;
        disk.clear();
        progress.pass(size.round / 2, HOSTS + DIRECT_HOSTS).await;
        over.store(true, Ordering::Relaxed);
        while let Some(ended) = loads.join_next().await {
            ended.expect("a load");
        }
        self.rough.release();
        progresses.await.expect("a load");
    }

    /// Suspends the bridge until `status` reports it. A host that starts meanwhile is served
    /// afterwards.
    async fn stop_bridge(&self) {
        let process = self.bridge.process().await;
        program::suspend(process);
        let bridge = Arc::clone(&self.bridge);
        let coming = tokio::spawn(async move { Shim::connect(&bridge, "calm").await });
        let status = self.bridge.output(&["status"], "").await;
        program::resume(process);
        let said = String::from_utf8_lossy(&status.stderr);
        let hung = format!("(process {process}) does not react");
        assert!(said.contains(&hung), "{said}");
        let mut host = coming.await.expect("a host");
        // Its shim may have answered the handshake itself and not be connected yet.
        until("an answer of the server", async || {
            let answer = host.call("answer", json!({ "bytes": 1 })).await;
            answer.is_ok_and(|text| text == "x").then_some(())
        })
        .await;
        host.end().await;
    }

    /// Waits until the load has ended and returns the bridge's resources.
    async fn rest(&self) -> ResourceUsage {
        let process = self.bridge.process().await;
        until("the end of all sessions of the load", async || {
            let sessions = self.bridge.state().await.sessions;
            let of_load = sessions.iter().filter(|session| session.server != "calm");
            (of_load.count() == 0).then_some(())
        })
        .await;
        // Each regular host has a stream and its calls.
        let most = 3 * HOSTS;
        let connections = || {
            let to = |server: &LoadServer| program::connections_to(process, server.address());
            to(&self.calm) + to(&self.rough)
        };
        until("few connections", async || {
            (connections() <= most).then_some(())
        })
        .await;
        ResourceUsage::least(process).await
    }
}

/// Reads a stream of events slowly.
async fn slow_host(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, count: usize, bytes: usize) {
    let mut host = LoadHost::connect(&bridge, "rough").await;
    let arguments = json!({ "count": count, "bytes": bytes });
    while !is_over.load(Ordering::Relaxed) {
        let others = host.call("events", arguments.clone(), SLOW).await;
        assert_eq!(others, count, "an event was lost");
    }
    host.end().await;
}

/// Requests long lists of tools, a different one each time.
async fn lists(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let mut host = LoadHost::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        host.list().await;
    }
    host.end().await;
}

/// Requests long responses.
async fn answers(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let mut host = LoadHost::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let arguments = json!({ "bytes": bytes });
        host.call("answer", arguments, Duration::ZERO).await;
    }
    host.end().await;
}

/// Exchanges batches (2025-03-26) in both directions.
async fn arrays(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let mut host = LoadHost::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let others = host.call("array", json!({}), Duration::ZERO).await;
        assert_eq!(others, 1, "the notification in the array");
        host.array(3).await;
    }
    host.end().await;
}

/// Sends progress notifications without a request beside a long call without a response.
async fn progress_beside_large_call(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let mut host = LoadHost::connect(&bridge, "loud").await;
    let held = host
        .send_request("hold", json!({ "text": "x".repeat(bytes) }))
        .await;
    let mut sender = LoadHost::connect(&bridge, "loud").await;
    while !is_over.load(Ordering::Relaxed) {
        sender
            .call("progress", json!({ "count": 500 }), Duration::ZERO)
            .await;
    }
    sender.end().await;
    host.read(held, Duration::ZERO).await;
    host.end().await;
}

/// Connects and disconnects hosts while a client watches the state.
async fn coming_and_going(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let client = bridge.connect().await;
    let mut watch = client.watch().await.expect("news of the state");
    let seen = tokio::spawn(async move { while watch.next().await.is_ok() {} });
    while !is_over.load(Ordering::Relaxed) {
        LoadHost::connect(&bridge, "rough").await.end().await;
    }
    seen.abort();
}

/// Sends lines that exceed the limit of a message. Each gets one error.
async fn overlong_lines(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":"long","method":"tools/call","params":{{"text":"{}"}}}}"#,
        "x".repeat(bytes)
    );
    let mut host = LoadHost::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let answer = host.exchange(line.as_bytes()).await;
        assert!(answer.contains("error"), "{answer}");
    }
    host.end().await;
}

/// Opens connections to the port whose requests never complete.
async fn stalled_connections(base: String, is_over: Arc<AtomicBool>) {
    let address = base.trim_start_matches("http://").to_owned();
    while !is_over.load(Ordering::Relaxed) {
        let mut open = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(&address).await.expect("a connection");
            let head = b"POST /calm/mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n";
            if stream.write_all(head).await.is_ok() {
                open.push(stream);
            }
        }
        // Waits until the first of them is closed.
        let mut rest = Vec::new();
        let closed = open[0].read_to_end(&mut rest);
        within("the end of a stalled connection", closed).await.ok();
    }
}

/// Sends many calls at once, each on its own connection.
async fn bursts(base: String, is_over: Arc<AtomicBool>) {
    let url = format!("{base}/calm/mcp");
    while !is_over.load(Ordering::Relaxed) {
        let mut hosts = JoinSet::new();
        for _ in 0..50 {
            let url = url.clone();
            hosts.spawn(async move {
                let mut host = Streamable::connect(&url, HeaderMap::new()).await;
                let answer = host.call("answer", json!({ "bytes": 10_000 })).await;
                answer.expect("an answer");
                host.end().await;
            });
        }
        while let Some(ended) = hosts.join_next().await {
            ended.expect("a host");
        }
    }
}

/// The peak memory of a process while it is watched.
struct Peak {
    stop: watch::Sender<bool>,
    watching: JoinHandle<u64>,
}

impl Peak {
    fn watch(process: u32) -> Self {
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let watching = tokio::spawn(async move {
            let mut rounds = tokio::time::interval(Duration::from_millis(100));
            let mut peak = 0;
            while !*stopped.borrow_and_update() {
                rounds.tick().await;
                peak = peak.max(ResourceUsage::of(process).memory);
            }
            peak
        });
        Self { stop, watching }
    }

    async fn end(self) -> u64 {
        self.stop.send_replace(true);
        self.watching.await.expect("a peak")
    }
}

/// The resources of a process.
#[derive(Debug)]
struct ResourceUsage {
    process: u32,
    descriptors: usize,
    /// Resident memory, in bytes.
    memory: u64,
}

impl ResourceUsage {
    /// Returns the resources with the least memory during [`REST`].
    async fn least(process: u32) -> Self {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let until = Instant::now() + REST;
        let mut least = Self::of(process);
        while ticks.tick().await < until {
            let now = Self::of(process);
            if now.memory < least.memory {
                least = now;
            }
        }
        least
    }

    fn of(process: u32) -> Self {
        Self {
            process,
            descriptors: program::descriptors(process).len(),
            memory: program::memory(process) << 10,
        }
    }
}
