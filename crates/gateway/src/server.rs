//! Connections: accepted as long as there is room, given a time limit for their headers, closed
//! when nobody is at the other end any more, and ended softly, then hard.

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
/// How long requests may go on after the shutdown began.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Serves `router` until `shutdown`, and returns when every connection is closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let service = router.clone().layer(axum::Extension(ConnectInfo(peer)));
                let connection = connection(stream, service, shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    connections.close();
    connections.wait().await;
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

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
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
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    match tokio::time::timeout(GRACE, connection).await {
        Ok(result) => report(result),
        Err(_) => tracing::debug!("a connection was cut at the shutdown"),
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
