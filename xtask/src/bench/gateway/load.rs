//! Sends as many calls as a number of connections can carry. Each connection waits for its response
//! before the next call.
//!
//! The client has one thread, on another processor than the server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, runtime::Builder};

use super::{super::messages, percentile, server::cpu, wire};

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// The text that a call returns. With it, the body has about 150 bytes.
const TEXT: &str = "as much text as a call of a tool commonly has";

/// The target of the calls, and the token.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) path: &'static str,
    pub(super) token: String,
}

/// The results of a load.
#[derive(Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    /// Requests per second.
    pub(super) rate: f64,
    /// The server's processor time per request.
    pub(super) cpu: Duration,
}

/// The state that the connections of a load share.
#[derive(Default)]
struct State {
    count: AtomicU64,
    is_measured: AtomicBool,
    is_over: AtomicBool,
}

/// Calls for this duration on this number of connections. `processes` are those of the server.
pub(super) fn calls(
    endpoint: &Endpoint,
    connections: usize,
    length: Duration,
    processes: &[u32],
) -> Result<Figures> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let state = Arc::new(State::default());
        let callers: Vec<_> = (0..connections)
            .map(|number| tokio::spawn(caller(endpoint.clone(), number, Arc::clone(&state))))
            .collect();
        tokio::time::sleep(WARM_UP).await;
        state.is_measured.store(true, Ordering::Relaxed);
        let begun = (Instant::now(), cpu(processes)?);
        let count_before = state.count.load(Ordering::Relaxed);
        tokio::time::sleep(length).await;
        let count = state.count.load(Ordering::Relaxed) - count_before;
        let (took, used) = (begun.0.elapsed(), cpu(processes)?.since(&begun.1));
        state.is_over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for caller in callers {
            times.extend(caller.await??);
        }
        ensure!(count > 0, "no call was answered");
        Ok(Figures {
            p50: percentile(&mut times, 50),
            p99: percentile(&mut times, 99),
            rate: count as f64 / took.as_secs_f64(),
            cpu: used.div_f64(count as f64),
        })
    })
}

/// Calls on one connection until the end. Returns the durations of the measured calls.
async fn caller(endpoint: Endpoint, number: usize, state: Arc<State>) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(endpoint.address).await?;
    stream.set_nodelay(true)?;
    let request = request(&endpoint, number);
    let mut buffer = Vec::with_capacity(4096);
    let mut times = Vec::new();
    while !state.is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let response = wire::read(&mut stream, &mut buffer)
            .await?
            .context("a connection ended under load")?;
        let took = begun.elapsed();
        let status = response.first_line(&buffer);
        ensure!(
            status.starts_with(b"HTTP/1.1 200") && !response.body(&buffer).is_empty(),
            "not an answer: {}",
            String::from_utf8_lossy(&buffer)
        );
        response.remove(&mut buffer);
        state.count.fetch_add(1, Ordering::Relaxed);
        if state.is_measured.load(Ordering::Relaxed) {
            times.push(took);
        }
    }
    Ok(times)
}

fn request(endpoint: &Endpoint, number: usize) -> String {
    let body = messages::echo(u64::try_from(number).unwrap_or_default(), TEXT, 1);
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
         mcp-protocol-version: 2025-11-25\r\ncontent-length: {length}\r\n\r\n{body}",
        path = endpoint.path,
        address = endpoint.address,
        token = endpoint.token,
        length = body.len(),
    )
}
