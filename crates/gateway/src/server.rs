//! Connections: given a place, a time limit for their headers and bounds of their memory, closed when
//! they are not used any more or others need their place, and drained at the end: calls first, then
//! streams.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::App;
use crate::places::{OpenRequest, Place};

/// How long a client may take to send a request's headers.
const HEADER_TIME: Duration = Duration::from_secs(15);
/// How long a connection may be open without a request.
const IDLE_TIME: Duration = Duration::from_secs(120);
/// How long one that makes room may take to close.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// How long the head of a request may be, in bytes.
const LONGEST_HEAD: usize = 64 << 10;
/// How many requests may be open on one HTTP/2 connection.
const STREAMS: u32 = 64;
/// How much of a response waits for a client of HTTP/2 to read it, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// How many streams a client of HTTP/2 may reset before they were looked at, and how many may end by
/// its errors; then its connection ends.
const RESETS: usize = 20;
const RESETS_BY_ERROR: usize = 100;
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
pub(crate) async fn serve(listener: TcpListener, router: Router, app: &App) {
    let connections = TaskTracker::new();
    let drain = &app.drain;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match app.places.take(app.visitors.limited_address(peer.ip())) {
                Some(place) => {
                    let service = router.clone().layer(axum::Extension(ConnectInfo(peer)));
                    let connection = connection(stream, service, Arc::new(place), drain.clone());
                    connections.spawn(connection);
                }
                None => tracing::debug!(%peer, "a connection found no place"),
            },
            Err(error) => pause_after(&error).await,
        }
    }
    // No new connection may wait for an answer that does not come.
    drop(listener);
    connections.close();
    tokio::join!(drain.run(), connections.wait());
}

/// A full file table passes; trying again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(stream: TcpStream, router: Router, place: Arc<Place>, drain: Drain) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(LONGEST_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE_AFTER)
        .keep_alive_timeout(PROBE_EVERY)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD as u32)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS_BY_ERROR);
    let begun = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (begun, place) = (Arc::clone(&begun), Arc::clone(&place));
        move |mut request: http::Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let open = place.open();
            let connection = Arc::clone(&place.connection);
            request.extensions_mut().insert(connection);
            let responding = router.clone().oneshot(request.map(Body::new));
            async move {
                let response = responding.await?;
                let counted = response.map(|body| Counted { body, _open: open });
                Ok::<_, Infallible>(counted)
            }
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let closing_time = tokio::select! {
        result = connection.as_mut() => return report(result),
        () = silence(&begun) => return tracing::debug!("a connection brought no request"),
        () = drain.shutdown.cancelled() => None,
        () = idle(&place) => Some(GRACE),
        () = place.connection.closing.cancelled() => Some(CLOSING_TIME),
    };
    connection.as_mut().graceful_shutdown();
    let cut = async {
        match closing_time {
            Some(time) => tokio::time::sleep(time).await,
            None => drain.is_over().await,
        }
    };
    tokio::select! {
        result = connection => report(result),
        () = cut => tracing::debug!("a connection was cut"),
    }
}

/// Waits until a connection has had no request for [`IDLE_TIME`].
async fn idle(place: &Place) {
    loop {
        let left = IDLE_TIME.saturating_sub(place.idle());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// A response, which keeps its request open until it has ended.
struct Counted {
    body: Body,
    _open: OpenRequest,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
