//! Serves HTTP on a listening socket: HTTP/1.1, and HTTP/2 for clients that begin with it.
//!
//! Owns: accepting, timeouts, and graceful shutdown. Does not own: the cap on connections
//! (`connections`), and the routes (`http`).

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mcp::memory::Budget;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::access::PeerOwner;
use super::body::{LateBody, RequestBody, ResponseBody};
use super::connections::{Activity, Connections, IDLE_TIMEOUT, Observed};
use super::stall::Watched;

/// The pause after a failed accept. Most likely no descriptor is free; one becomes free when a
/// connection or a file is closed.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(100);

/// A listening socket.
pub(super) trait Accept: Send {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Returns the next connection and its owner.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, PeerOwner)>> + Send;
}

/// The routes and limits of all listening sockets.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) app: Router,
    pub(super) connections: Arc<Connections>,
    /// The memory of the responses.
    pub(super) memory: Budget,
    pub(super) shutdown: CancellationToken,
}

impl Endpoint {
    /// Serves until `shutdown`. Returns when every connection is closed, so that responses in
    /// flight are delivered.
    pub(super) async fn serve(self, mut listener: impl Accept) {
        let tasks = TaskTracker::new();
        let mut is_failing = false;
        loop {
            let next = async {
                match listener.accept().await {
                    Ok((stream, peer)) => Ok((stream, peer, self.connections.admit().await)),
                    Err(reason) => Err(reason),
                }
            };
            let Some(accepted) = self.shutdown.run_until_cancelled(next).await else {
                break;
            };
            match accepted {
                Ok((stream, peer, activity)) => {
                    is_failing = false;
                    tasks.spawn(self.clone().connection(stream, peer, activity));
                }
                Err(reason) => {
                    // The same line for each attempt would only fill the log.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%reason, "no HTTP connection can be accepted for now");
                    }
                    tokio::time::sleep(ACCEPT_INTERVAL).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    async fn connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: PeerOwner,
        activity: Arc<Activity>,
    ) {
        let stream = TokioIo::new(Observed {
            stream: Watched::new(stream, self.memory),
            activity: Arc::clone(&activity),
        });
        let begun = Arc::clone(&activity);
        let service = service_fn(move |request| answer(self.app.clone(), peer, &begun, request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut serving = pin!(builder.serve_connection(stream, service));
        let mut timer = pin!(tokio::time::sleep(IDLE_TIMEOUT));
        let mut is_ending = false;
        loop {
            let served = std::future::poll_fn(|cx| {
                if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                    return Poll::Ready(served);
                }
                poll_deadline(&activity, timer.as_mut(), cx).map(|()| Err("a timeout".into()))
            });
            tokio::select! {
                served = served => {
                    if let Err(reason) = served {
                        tracing::debug!(reason, "an HTTP connection ended early");
                    }
                    return;
                }
                () = activity.closed() => return,
                () = self.shutdown.cancelled(), if !is_ending => {
                    is_ending = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Ready when the connection has waited too long for a request. Resets the timer only if the
/// deadline is earlier than it. A request that arrives in one piece never causes a reset.
fn poll_deadline(
    activity: &Activity,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if let Some(deadline) = activity.deadline()
        && deadline < timer.deadline()
    {
        timer.as_mut().reset(deadline);
    }
    while timer.as_mut().poll(cx).is_ready() {
        let now = Instant::now();
        match activity.deadline() {
            Some(deadline) if deadline <= now => return Poll::Ready(()),
            Some(deadline) => timer.as_mut().reset(deadline),
            None => timer.as_mut().reset(now + IDLE_TIMEOUT),
        }
    }
    Poll::Pending
}

fn answer(
    app: Router,
    peer: PeerOwner,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
    let busy = activity.begin(request.version());
    let late = Arc::new(AtomicBool::new(false));
    let body = |body| Body::new(RequestBody::new(body, Arc::clone(&late)));
    let mut request = request.map(body);
    request.extensions_mut().insert(ConnectInfo(peer));
    async move {
        let Ok(mut response) = app.oneshot(request).await;
        if late.load(Ordering::Relaxed) {
            response = too_late();
        }
        Ok(response.map(|body| ResponseBody::new(body, busy)))
    }
}

fn too_late() -> Response<Body> {
    let text = format!("{LateBody}; hint: send it again\n");
    let close = [(header::CONNECTION, "close")];
    (StatusCode::REQUEST_TIMEOUT, close, text).into_response()
}
