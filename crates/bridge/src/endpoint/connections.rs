//! The HTTP connections of hosts: how many there may be, and the state of each.
//!
//! A connection is busy from the head of a request to the end of its response. Otherwise it waits
//! for a head. Only then it has a timeout and can be closed to make room for another. So a host
//! that reads slowly, or listens for days, keeps its connection.
//!
//! Owns: the cap, and since when each connection waits. Does not own: closing (`serve`).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Timeout of a request head, from its first byte or from the start of the connection. A host on
/// this machine sends it in one piece.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle between two requests. Longer than common HTTP clients keep one
/// (90 seconds at most): the client can close it without losing a request.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The minimum wait before a connection is closed to make room. A host whose connection was just
/// accepted has had no time to send its request.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// How often a connection is looked for that can be closed, while another waits for room.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    open: Mutex<Vec<Weak<Activity>>>,
}

impl Connections {
    /// Allows at most `max` connections.
    pub(super) fn new(max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max)),
            open: Mutex::default(),
        }
    }

    /// Admits a connection once there is room. If there is none, closes the connection that has
    /// waited longest for a head.
    pub(super) async fn admit(&self) -> Arc<Activity> {
        loop {
            if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
                return self.enter(place);
            }
            self.close_longest_waiting();
            let free = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(place)) = tokio::time::timeout(ROOM_INTERVAL, free).await {
                return self.enter(place);
            }
        }
    }

    fn enter(&self, place: OwnedSemaphorePermit) -> Arc<Activity> {
        let activity = Arc::new(Activity {
            state: Mutex::new(State {
                busy: 0,
                since: Instant::now(),
                wait: Wait::First,
                is_shared: false,
            }),
            closed: CancellationToken::new(),
            _place: place,
        });
        let mut open = self.open();
        open.retain(|activity| activity.strong_count() > 0);
        open.push(Arc::downgrade(&activity));
        activity
    }

    /// Closes a waiting connection. Prefers connections that never had a request.
    fn close_longest_waiting(&self) {
        let open = self.open();
        let waiting = open
            .iter()
            .filter_map(Weak::upgrade)
            .filter_map(|activity| {
                let state = activity.state();
                let is_due = state.busy == 0 && state.since.elapsed() >= MIN_WAIT;
                let rank = (state.wait == Wait::Idle, state.since);
                drop(state);
                (is_due && !activity.closed.is_cancelled()).then_some((rank, activity))
            });
        if let Some((_, activity)) = waiting.min_by_key(|(rank, _)| *rank) {
            tracing::debug!("an HTTP connection without a request makes room for another");
            activity.closed.cancel();
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a connection. The connection counts while this lives.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    closed: CancellationToken,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    /// The number of requests in flight.
    busy: usize,
    /// When it began to wait for what `wait` says, if no request is in flight.
    since: Instant,
    wait: Wait,
    /// Whether it carries several requests at once (HTTP/2), with other frames between them.
    is_shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// No complete head has arrived yet.
    First,
    /// The last response has ended.
    Idle,
    /// A head has begun.
    Head,
}

impl Activity {
    /// Counts a request in flight until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Busy {
        let mut state = self.state();
        state.busy += 1;
        state.is_shared = version == Version::HTTP_2;
        Busy(Arc::clone(self))
    }

    /// Returns when the connection times out. Returns `None` while it is busy.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let timeout = match state.wait {
            Wait::First | Wait::Head => HEAD_TIMEOUT,
            Wait::Idle => IDLE_TIMEOUT,
        };
        (state.busy == 0).then(|| state.since + timeout)
    }

    /// Returns when the connection must be closed to make room.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    fn received(&self) {
        let mut state = self.state();
        if state.busy == 0 && state.wait == Wait::Idle && !state.is_shared {
            state.wait = Wait::Head;
            state.since = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request in flight.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.busy -= 1;
        if state.busy == 0 {
            state.wait = Wait::Idle;
            state.since = Instant::now();
        }
    }
}

/// A connection that records when data arrives.
pub(super) struct Observed<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}
