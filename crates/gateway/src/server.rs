//! Serves connections: gives each a place, a time limit for its headers and bounds of its memory.
//! Closes it when it is unused for long or others need its place. On shutdown, calls end first, then
//! streams.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
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
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::drain::Drain;
use crate::gateway_state::GatewayState;
use crate::places::{Connection, OpenRequest, Place};
use crate::timeouts::{GRACE, PROBE_AFTER, PROBE_EVERY};

/// The maximum length of the head of an HTTP/1 request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The same for HTTP/2, where one connection carries many requests.
const MAX_HEADERS: u32 = 16 << 10;
/// How many requests may be open on one HTTP/2 connection, and on one of a proxy.
const STREAMS: u32 = 64;
const STREAMS_OF_PROXY: u32 = 256;
/// How much of a response is buffered for a client of HTTP/2, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// How many streams a client of HTTP/2 may reset before they were processed. Then its connection ends.
const RESETS: usize = 20;
/// How long a connection without a request may take to close.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// The pause before the next `accept` after a failed one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until the shutdown, drains, and returns when every connection is closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, gateway: &GatewayState) {
    let connections = TaskTracker::new();
    let drain = &gateway.drain;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = gateway
                    .places
                    .take(gateway.visitors.limited_address(peer.ip()))
                {
                    let accepted = Accepted {
                        stream,
                        peer,
                        place,
                    };
                    connections.spawn(connection(accepted, router.clone(), drain.clone()));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                gateway.places.record_failure(&error);
                // A full file table is temporary. Retrying at once would only use processor time.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // No new connection may wait for a response that never arrives.
    drop(listener);
    connections.close();
    tokio::join!(drain.run(), connections.wait());
}

/// Returns true if a connection ended before it was accepted. This does not affect the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// A connection that has a place.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
}

async fn connection(accepted: Accepted, router: Router, drain: Drain) {
    let Accepted {
        stream,
        peer,
        place,
    } = accepted;
    let place = Arc::new(place);
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let streams = match place.connection.is_limited() {
        true => STREAMS,
        false => STREAMS_OF_PROXY,
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The connection's own limits determine how long a head may take. Those of hyper would also
        // end a connection that waits for its next request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE_AFTER)
        .keep_alive_timeout(PROBE_EVERY)
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS);
    let service = service_fn({
        let (place, calls) = (Arc::clone(&place), drain.calls.clone());
        move |mut request: http::Request<Incoming>| {
            let open = Arc::new(place.begin(calls.token()));
            // A layer of the router would copy all its routes for each connection.
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(Arc::clone(&open));
            let responding = router.clone().oneshot(request.map(Body::new));
            async move {
                let response = responding.await?;
                if !open.is_of_session() {
                    // A visitor that does not read must not delay the shutdown.
                    open.record_stream();
                }
                Ok::<_, Infallible>(response.map(|body| Counted::new(body, open)))
            }
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let known = &place.connection;
    let is_drained = tokio::select! {
        result = connection.as_mut() => return report(result),
        () = drain.shutdown.cancelled() => true,
        () = known.closing.cancelled() => false,
        () = known.time_is_over() => false,
    };
    if !is_drained && !known.was_used() {
        return tracing::debug!("a connection sent no request");
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection => report(result),
        () = drain.is_over() => tracing::debug!("a connection was cut"),
        () = unused(known), if !is_drained => tracing::debug!("a connection was cut"),
    }
}

/// Waits until a connection that must close has had its time, and no session uses it.
async fn unused(connection: &Connection) {
    tokio::time::sleep(CLOSING_TIME).await;
    if !connection.serves_request() {
        return;
    }
    let mut was_used = true;
    loop {
        tokio::time::sleep(GRACE).await;
        let is_used = connection.serves_session();
        // The end of a response that was handed over a moment ago may not be sent yet.
        let may_be_sending = was_used && connection.is_known();
        if !is_used && !may_be_sending {
            return;
        }
        was_used = is_used;
    }
}

/// A response body, which keeps its request open until it has ended.
struct Counted {
    body: Body,
    open: Arc<OpenRequest>,
    /// The last byte of the previous frame.
    held: Option<Bytes>,
}

impl Counted {
    fn new(body: Body, open: Arc<OpenRequest>) -> Self {
        Self {
            body,
            open,
            held: None,
        }
    }

    /// Holds back the last byte of a response without a session. HTTP/2 accepts a frame of any length
    /// as soon as the client has room for one byte, and the last byte only when it has room for
    /// everything before it. So a response that is not read keeps its request open.
    fn hold_last_byte(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if !self.open.is_of_session()
            && let Some(data) = frame.data_mut()
            && data.len() > 1
        {
            self.held = Some(data.split_off(data.len() - 1));
        }
        frame
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.open.finish();
        }
        let frame = frame.map(|frame| frame.map(|frame| self.hold_last_byte(frame)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    /// hyper calls this before it polls, when no byte is held back.
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if http_body::Body::is_end_stream(self) {
            self.open.finish();
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn report(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
