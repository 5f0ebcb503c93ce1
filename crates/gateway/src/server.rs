//! Connections: accepted as long as there is room, given a time limit for their headers, closed
//! when nobody is at the other end any more, and drained at the end: calls first, then streams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// How long a client may take to send a request's headers.
const HEADER_TIME: Duration = Duration::from_secs(15);
/// How many connections there may be; further ones wait to be accepted.
const MOST: usize = 10_000;
/// After how long without traffic the other end is asked whether it is there. Event streams may
/// be silent for longer than anything else.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How long there is between two such questions.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long a connection may take to close once it has been drained.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How a gateway ends.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// Told to end.
    pub(crate) shutdown: CancellationToken,
    /// The calls that are carried out. Each has a token of it.
    pub(crate) calls: TaskTracker,
    /// How long they may go on.
    pub(crate) time: Duration,
    /// Cancelled when they have ended, or that time is over: streams end then.
    pub(crate) cut: CancellationToken,
}

impl Drain {
    pub(crate) fn new(shutdown: CancellationToken, time: Duration) -> Self {
        Self {
            shutdown,
            calls: TaskTracker::new(),
            time,
            cut: CancellationToken::new(),
        }
    }

    /// Waits for the calls, then ends the streams.
    async fn run(&self) {
        self.calls.close();
        if tokio::time::timeout(self.time, self.calls.wait())
            .await
            .is_err()
        {
            let calls = self.calls.len();
            tracing::warn!(
                calls,
                "calls are cut off that took longer than drain_seconds"
            );
        }
        self.cut.cancel();
    }

    /// Waits until a connection is cut.
    async fn is_over(&self) {
        self.cut.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }
}

/// Serves `router` until the shutdown, drains, and returns when every connection is closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, drain: &Drain) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = drain.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let service = router.clone().layer(axum::Extension(ConnectInfo(peer)));
                let connection = connection(stream, service, drain.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    // No new connection may wait for an answer that does not come.
    drop(listener);
    connections.close();
    tokio::join!(drain.run(), connections.wait());
}

/// The next connection, with its place among those there may be.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// A full file table passes; trying again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(stream: TcpStream, router: Router, drain: Drain) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE_AFTER)
        .keep_alive_timeout(PROBE_EVERY);
    let begun = Arc::new(AtomicBool::new(false));
    let service = TowerToHyperService::new(router.map_request({
        let begun = Arc::clone(&begun);
        move |request: http::Request<_>| {
            begun.store(true, Ordering::Relaxed);
            request.map(axum::body::Body::new)
        }
    }));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return report(result),
        () = silence(&begun) => return tracing::debug!("a connection brought no request"),
        () = drain.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = connection => report(result),
        () = drain.is_over() => tracing::debug!("a connection was cut at the shutdown"),
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Waits until the time for the first request is over and there is none. HTTP/1 limits it by
/// itself; finding out the version does not, nor does HTTP/2.
async fn silence(begun: &AtomicBool) {
    tokio::time::sleep(HEADER_TIME).await;
    if begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn report(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
