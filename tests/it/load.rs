//! Normal traffic of twenty hosts beside hosts and servers that put load on the bridge: each request
//! is answered once, and the bridge keeps nothing of it.
//!
//! Latencies are printed, not asserted: what else runs on the machine decides them too. Beside them
//! stand those of two hosts that call the same server without the bridge.
//! `cargo xtask test --full` takes ten minutes for it.

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
use hosts::{PACE, Progress, Rough, Times};
use server::{ListLength, LoadServer};

/// Hosts that call at a steady pace, half over stdio and half over HTTP.
const HOSTS: usize = 20;

/// Hosts that do so without the bridge.
const DIRECT_HOSTS: usize = 2;

/// How long the bridge is watched once nothing of the load is left: it gives free memory back to the
/// system every ten seconds.
const REST: Duration = Duration::from_secs(12);

/// What the bridge may take at any time, in bytes.
const MAX_MEMORY: u64 = 300 << 20;

/// What its memory may have grown by from the end of the first round to that of the last, in bytes.
const MAX_GROWTH: u64 = 24 << 20;

/// Descriptors that may be open beside those of the first round: connections that are about to close.
const MAX_MORE_DESCRIPTORS: usize = 8;

/// The pace at which a slow host reads: a line each.
const SLOW: Duration = Duration::from_millis(200);

/// How long and how large everything is.
struct Size {
    /// How often the load comes and goes.
    rounds: usize,
    /// One round with load; there is one without, first.
    round: Duration,
    /// Of a large answer, event and list, in bytes.
    large: usize,
    /// Of a request that is not answered, in bytes.
    held: usize,
    /// Of a line that is no message any more, in bytes.
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
        // Calls of the rest belong to no phase that is compared.
        progress.phase.send_replace(size.rounds + 1);
        // Those that have begun are answered first.
        progress.pass(PACE, HOSTS + DIRECT_HOSTS).await;
        load.stop_bridge().await;
        rests.push(load.rest().await);
    }
    progress.is_over.send_replace(true);
    let times = times_of(normal).await;
    let direct = times_of(direct).await;
    assert_eq!(
        load.calm.took_each_call_once(),
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

async fn times_of(mut hosts: JoinSet<Times>) -> Times {
    let mut times = Times::default();
    while let Some(done) = hosts.join_next().await {
        times.append(done.expect("a host"));
    }
    times
}

struct Load {
    /// What the normal hosts call.
    calm: LoadServer,
    /// What the load comes from.
    rough: LoadServer,
    bridge: Arc<Bridge>,
    /// Runs `calm` and the normal hosts, which must not wait for the load that this process makes.
    calm_runtime: CalmRuntime,
    _folder: TempDir,
}

/// A runtime with one thread. It ends with this value.
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
        bridge.start_under(disk::QUIETLY).await;
        Self {
            calm,
            rough,
            bridge: Arc::new(bridge),
            calm_runtime,
            _folder: folder,
        }
    }

    /// Everything that loads the bridge at once, until the normal hosts have made their calls.
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

    /// Stops the bridge until `status` has said so. A host that comes meanwhile is served afterwards.
    async fn stop_bridge(&self) {
        let process = self.bridge.process().await;
        program::suspend(process);
        let bridge = Arc::clone(&self.bridge);
        let coming = tokio::spawn(async move { Shim::connect(&bridge, "calm").await });
        let status = self.bridge.output(&["status"], "").await;
        program::wake(process);
        let said = String::from_utf8_lossy(&status.stderr);
        let hung = format!("(process {process}) does not react");
        assert!(said.contains(&hung), "{said}");
        let mut host = coming.await.expect("a host");
        // Its shim may have answered the handshake by itself, and be about to connect.
        until("an answer of the server", async || {
            let answer = host.call("answer", json!({ "bytes": 1 })).await;
            answer.is_ok_and(|text| text == "x").then_some(())
        })
        .await;
        host.end().await;
    }

    /// Waits until nothing of the load is left, and returns what the bridge holds then.
    async fn rest(&self) -> Holding {
        let process = self.bridge.process().await;
        until("the end of all sessions of the load", async || {
            let sessions = self.bridge.state().await.sessions;
            let of_load = sessions.iter().filter(|session| session.server != "calm");
            (of_load.count() == 0).then_some(())
        })
        .await;
        // Each of the normal hosts has a stream and its calls.
        let most = 3 * HOSTS;
        let connections = || {
            let to = |server: &LoadServer| program::connections_to(process, server.address());
            to(&self.calm) + to(&self.rough)
        };
        until("few connections", async || {
            (connections() <= most).then_some(())
        })
        .await;
        Holding::least(process).await
    }
}

/// A host that reads slowly what a server has much of.
async fn slow_host(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, count: usize, bytes: usize) {
    let mut host = Rough::connect(&bridge, "rough").await;
    let arguments = json!({ "count": count, "bytes": bytes });
    while !is_over.load(Ordering::Relaxed) {
        let others = host.call("events", arguments.clone(), SLOW).await;
        assert_eq!(others, count, "an event was lost");
    }
    host.end().await;
}

/// Long lists of tools, another one each time.
async fn lists(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let mut host = Rough::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        host.list().await;
    }
    host.end().await;
}

/// Long answers.
async fn answers(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let mut host = Rough::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let arguments = json!({ "bytes": bytes });
        host.call("answer", arguments, Duration::ZERO).await;
    }
    host.end().await;
}

/// Arrays, as 2025-03-26 has them, in both directions.
async fn arrays(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let mut host = Rough::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let others = host.call("array", json!({}), Duration::ZERO).await;
        assert_eq!(others, 1, "the notification in the array");
        host.array(3).await;
    }
    host.end().await;
}

/// Notifications of progress that belong to no request, beside a long call that is not answered.
async fn progress_beside_large_call(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let mut host = Rough::connect(&bridge, "loud").await;
    let held = host.ask("hold", json!({ "text": "x".repeat(bytes) })).await;
    let mut sender = Rough::connect(&bridge, "loud").await;
    while !is_over.load(Ordering::Relaxed) {
        sender
            .call("progress", json!({ "count": 500 }), Duration::ZERO)
            .await;
    }
    sender.end().await;
    host.read(held, Duration::ZERO).await;
    host.end().await;
}

/// Hosts that come and go, while a client watches the state.
async fn coming_and_going(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>) {
    let client = bridge.connect().await;
    let mut watch = client.watch().await.expect("news of the state");
    let seen = tokio::spawn(async move { while watch.next().await.is_ok() {} });
    while !is_over.load(Ordering::Relaxed) {
        Rough::connect(&bridge, "rough").await.end().await;
    }
    seen.abort();
}

/// Lines that are longer than any message may be: each gets one error.
async fn overlong_lines(bridge: Arc<Bridge>, is_over: Arc<AtomicBool>, bytes: usize) {
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":"long","method":"tools/call","params":{{"text":"{}"}}}}"#,
        "x".repeat(bytes)
    );
    let mut host = Rough::connect(&bridge, "rough").await;
    while !is_over.load(Ordering::Relaxed) {
        let answer = host.exchange(line.as_bytes()).await;
        assert!(answer.contains("error"), "{answer}");
    }
    host.end().await;
}

/// Connections to the port on which no request ever comes whole.
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
        // Until the first of them is closed.
        let mut rest = Vec::new();
        let closed = open[0].read_to_end(&mut rest);
        within("the end of a stalled connection", closed).await.ok();
    }
}

/// Many calls at once, each with a connection of its own.
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

/// The most memory that a process had while it was watched.
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
                peak = peak.max(Holding::of(process).memory);
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

/// What a process holds.
#[derive(Debug)]
struct Holding {
    process: u32,
    descriptors: usize,
    /// Resident, in bytes.
    memory: u64,
}

impl Holding {
    /// The least memory in [`REST`].
    async fn least(process: u32) -> Self {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let until = Instant::now() + REST;
        let mut least = Self::of(process);
        while looks.tick().await < until {
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
