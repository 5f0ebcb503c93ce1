//! How long an idle connection may still be used, and when it is closed.
//!
//! A server closes idle connections, and a request that is sent at that moment is lost: it is
//! unknown whether the server has read it, so it is not sent again. Node.js and uvicorn, on which
//! most MCP servers run, close after five seconds. Node.js announces that (`Keep-Alive:
//! timeout=5`), uvicorn does not. So each connection is closed shortly before its server closes it.
//! Of the connections that a burst of calls leaves behind, a few stay for the next call.
//!
//! Owns: when each idle connection is closed. Does not own: the pool, how a connection is closed
//! (`connection`), and HTTP/2, which announces the end of a connection itself.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use threads::Portioned;
use tokio::time::Instant;

use super::connection::{Closer, WriteCount};
use super::in_flight::Permit;

/// The keep-alive timeout of a server that announces none.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Far longer than the pool keeps a connection.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(60 * 60);
/// How long before its server a connection is closed, which covers both network directions. For
/// short timeouts it is half of the timeout.
const SAFETY_MARGIN: Duration = Duration::from_secs(1);
/// How many idle connections to one server stay for the server's full timeout. A host rarely has
/// more pending calls, and another connection costs one or two round trips.
const MAX_IDLE_PER_SERVER: usize = 8;
/// How long all others stay. A burst of calls is often followed by another one.
const SURPLUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may stay unused. It was opened for a request that then used another one.
const UNUSED_TIMEOUT: Duration = Duration::from_secs(3);
/// How often expired connections are closed, while there are any.
const CLOSE_INTERVAL: Duration = Duration::from_secs(1);

/// The idle connections.
#[derive(Clone)]
pub(super) struct Idle(Arc<Mutex<IdleState>>);

struct IdleState {
    connections: HashMap<usize, IdleConnection>,
    /// New connections that were not used yet.
    unused: Vec<(Closer, Instant)>,
    /// No entry of `connections` expires before this.
    next: Option<Instant>,
    max: usize,
    has_task: bool,
}

struct IdleConnection {
    closer: Closer,
    used: WriteCount,
    since: Instant,
    until: Instant,
}

impl Idle {
    /// Creates an empty set of at most `max` connections to all servers together.
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(IdleState {
            connections: HashMap::new(),
            unused: Vec::new(),
            next: None,
            max,
            has_task: false,
        })))
    }

    /// Closes all connections that were idle for too long, so that they are not used again.
    pub(super) fn close_expired(&self, now: Instant) {
        self.state().close_expired(now);
    }

    /// Records a new connection. Its request may use another one that became idle meanwhile.
    pub(super) fn record_opened(&self, closer: Closer) {
        let until = Instant::now() + UNUSED_TIMEOUT;
        let mut state = self.state();
        state.unused.push((closer, until));
        self.close_in_time(&mut state);
    }

    /// Records the connection of the response as idle once the whole response has arrived.
    pub(super) fn watch(
        &self,
        response: Response<Incoming>,
        permit: Permit,
    ) -> Response<WatchedBody> {
        let rest = closer(&response).map(|closer| {
            self.state().connections.remove(&closer.key());
            Box::new(PendingIdle {
                idle: self.clone(),
                time: idle_timeout(response.headers()),
                used: closer.write_count(),
                closer,
            })
        });
        response.map(|body| {
            let mut answered = WatchedBody {
                body: Portioned::new(body),
                rest,
                permit: Some(permit),
            };
            if answered.body.is_end_stream() {
                answered.record_end();
            }
            answered
        })
    }

    fn insert(&self, rest: PendingIdle) {
        let now = Instant::now();
        let mut state = self.state();
        state.insert(IdleConnection {
            used: rest.used,
            closer: rest.closer,
            since: now,
            until: now + rest.time,
        });
        self.close_in_time(&mut state);
    }

    /// Starts the task that closes expired connections, unless it runs.
    fn close_in_time(&self, state: &mut IdleState) {
        if !state.has_task {
            state.has_task = true;
            tokio::spawn(close_in_time(Arc::downgrade(&self.0)));
        }
    }

    fn state(&self) -> MutexGuard<'_, IdleState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_in_time(state: Weak<Mutex<IdleState>>) {
    loop {
        tokio::time::sleep(CLOSE_INTERVAL).await;
        let Some(state) = state.upgrade() else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.close_unused(now);
        state.close_expired(now);
        state.close_surplus(now);
        if state.connections.is_empty() && state.unused.is_empty() {
            state.has_task = false;
            return;
        }
    }
}

impl IdleState {
    fn insert(&mut self, connection: IdleConnection) {
        self.next = Some(match self.next {
            Some(next) => next.min(connection.until),
            None => connection.until,
        });
        self.connections.insert(connection.closer.key(), connection);
        if self.connections.len() > self.max {
            let idle = self.connections.values();
            let oldest = idle.min_by_key(|connection| connection.since);
            if let Some(key) = oldest.map(|connection| connection.closer.key()) {
                self.close(key);
            }
        }
    }

    fn close_expired(&mut self, now: Instant) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.connections.retain(|_, connection| {
            let stays = now < connection.until;
            if !stays {
                connection.close();
            }
            stays
        });
        let idle = self.connections.values();
        self.next = idle.map(|connection| connection.until).min();
    }

    fn close_unused(&mut self, now: Instant) {
        self.unused.retain(|(closer, until)| {
            let stays =
                now < *until && closer.write_count() == WriteCount::ZERO && !closer.is_gone();
            if !stays {
                closer.close(WriteCount::ZERO);
            }
            stays
        });
        // Keeps no memory of a burst.
        self.unused.shrink_to(MAX_IDLE_PER_SERVER);
    }

    /// Closes connections beyond [`MAX_IDLE_PER_SERVER`], the longest idle first.
    fn close_surplus(&mut self, now: Instant) {
        self.connections
            .retain(|_, connection| !connection.closer.is_gone());
        let mut servers: HashMap<Option<&Authority>, Vec<&IdleConnection>> = HashMap::new();
        for connection in self.connections.values() {
            let server = connection.closer.server();
            servers.entry(server).or_default().push(connection);
        }
        let mut surplus = Vec::new();
        for mut idle in servers.into_values() {
            idle.sort_unstable_by_key(|connection| std::cmp::Reverse(connection.since));
            let beyond = idle.into_iter().skip(MAX_IDLE_PER_SERVER);
            let beyond = beyond.filter(|connection| now - connection.since >= SURPLUS_TIMEOUT);
            surplus.extend(beyond.map(|connection| connection.closer.key()));
        }
        for key in surplus {
            self.close(key);
        }
        self.connections.shrink_to(4 * MAX_IDLE_PER_SERVER);
    }

    fn close(&mut self, key: usize) {
        if let Some(connection) = self.connections.remove(&key) {
            connection.close();
        }
    }
}

impl IdleConnection {
    fn close(&self) {
        self.closer.close(self.used);
    }
}

/// Returns the closer of the response's connection. Returns `None` for HTTP/2, because other
/// requests share that connection.
fn closer(response: &Response<Incoming>) -> Option<Closer> {
    let closer = response.extensions().get::<Closer>();
    closer
        .filter(|_| response.version() != Version::HTTP_2)
        .cloned()
}

/// Returns how long the server keeps an idle connection, less the time that a request needs to
/// arrive.
fn idle_timeout(headers: &HeaderMap) -> Duration {
    let values = headers.get_all("keep-alive").into_iter();
    let said = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok());
    let time = said
        .map_or(DEFAULT_KEEP_ALIVE, Duration::from_secs)
        .min(MAX_KEEP_ALIVE);
    time - SAFETY_MARGIN.min(time / 2)
}

/// The body of a response whose connection is watched.
pub(super) struct WatchedBody {
    body: Portioned<Incoming>,
    /// `None` once the whole body has arrived.
    rest: Option<Box<PendingIdle>>,
    /// `None` once the whole body has arrived.
    permit: Option<Permit>,
}

struct PendingIdle {
    idle: Idle,
    time: Duration,
    /// The write count when the head of the response arrived. The next request may use the
    /// connection before the reader of the body has seen its end, and must not be cut off.
    used: WriteCount,
    closer: Closer,
}

impl WatchedBody {
    /// Records that the whole body has arrived. A connection whose response is incomplete is closed
    /// anyway.
    fn record_end(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.idle.clone().insert(*rest);
        }
        self.permit = None;
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_last =
            matches!(frame, Poll::Ready(None)) || (frame.is_ready() && self.body.is_end_stream());
        if is_last {
            self.record_end();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::idle_timeout;

    #[test]
    fn idle_timeout_is_shorter_than_that_of_server() {
        for (said, milliseconds) in [
            ("timeout=5", 4000),
            ("Timeout = 75, max=100", 74000),
            ("max=100,timeout=\"1\"", 500),
            ("timeout=0", 0),
            ("timeout=soon", 4000),
            ("", 4000),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", said.parse().unwrap());
            assert_eq!(
                idle_timeout(&headers),
                Duration::from_millis(milliseconds),
                "{said}"
            );
        }
        assert_eq!(idle_timeout(&HeaderMap::new()), Duration::from_secs(4));
    }
}
