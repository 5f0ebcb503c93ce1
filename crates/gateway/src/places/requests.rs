//! The open requests of a connection.
//!
//! Owns: when each began, whether it belongs to a session, and how long the connection may stay open.
//! Does not own: which connection closes for another one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long a client may take to send the headers of its first request.
const HEADER_TIME: Duration = Duration::from_secs(15);
/// How long a connection may be open without a request. Front ends reuse their connections for up to
/// two minutes.
const IDLE_TIME: Duration = Duration::from_secs(180);
/// How long a request without a session may take, including its body and its response.
const ANONYMOUS_TIME: Duration = Duration::from_secs(60);
/// How many requests without a session one connection may abort.
const MAX_ABANDONED: usize = 100;

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its address, if the limit per address applies.
    pub(super) address: Option<IpAddr>,
    kind: Kind,
    requests: Mutex<Requests>,
    /// The origin of all times, which are in milliseconds.
    start: Instant,
    /// How many requests without a session all connections have.
    anonymous: Arc<AtomicUsize>,
    /// Cancelled when the connection has to close.
    pub(crate) closing: CancellationToken,
}

/// The purpose of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Usual,
    /// For requests without a session, when sessions use all others.
    Reserve,
}

#[derive(Debug, Default)]
struct Requests {
    /// The total number of requests.
    count: u64,
    /// The open requests, oldest first.
    open: BTreeMap<u64, Open>,
    /// How many open requests belong to a session.
    of_sessions: usize,
    /// When the last one began or ended, or the connection did.
    used_at: u64,
    /// Whether a session has used the connection.
    is_known: bool,
    /// How many requests without a session were aborted.
    abandoned: usize,
    /// Whether the connection was told to close for another one. Its open requests no longer count.
    makes_room: bool,
}

#[derive(Debug)]
struct Open {
    begun_at: u64,
    is_of_session: bool,
}

/// An open request, until its response has ended.
pub(crate) struct OpenRequest {
    connection: Arc<Connection>,
    number: u64,
    /// A shutdown waits for this token. `None` for a stream.
    call: Mutex<Option<TaskTrackerToken>>,
    is_of_session: AtomicBool,
    is_finished: AtomicBool,
}

/// The order in which connections close for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    IdleUnknown,
    IdleKnown,
    /// In use, but not by a session.
    InUse,
}

impl Connection {
    pub(super) fn new(
        address: Option<IpAddr>,
        kind: Kind,
        start: Instant,
        anonymous: Arc<AtomicUsize>,
    ) -> Arc<Self> {
        let connection = Self {
            address,
            kind,
            requests: Mutex::default(),
            start,
            anonymous,
            closing: CancellationToken::new(),
        };
        let now = connection.now();
        connection.requests().used_at = now;
        Arc::new(connection)
    }

    /// Records that a request has begun. Holds `call` until it has ended.
    pub(super) fn begin(self: &Arc<Self>, call: TaskTrackerToken) -> OpenRequest {
        let begun_at = self.now();
        let mut requests = self.requests();
        if !requests.makes_room {
            self.anonymous.fetch_add(1, Ordering::Relaxed);
        }
        requests.used_at = begun_at;
        requests.count += 1;
        let number = requests.count;
        let open = Open {
            begun_at,
            is_of_session: false,
        };
        requests.open.insert(number, open);
        OpenRequest {
            connection: Arc::clone(self),
            number,
            call: Mutex::new(Some(call)),
            is_of_session: AtomicBool::new(false),
            is_finished: AtomicBool::new(false),
        }
    }

    /// Closes the connection for another.
    pub(super) fn make_room(&self) {
        let mut requests = self.requests();
        if !requests.makes_room {
            requests.makes_room = true;
            let anonymous = requests.open.len() - requests.of_sessions;
            self.anonymous.fetch_sub(anonymous, Ordering::Relaxed);
            self.closing.cancel();
        }
    }

    /// Returns the rank, and since when the connection has it. Returns `None` if it must not be
    /// closed.
    pub(super) fn rank(&self) -> Option<(Rank, u64)> {
        let requests = self.requests();
        if requests.of_sessions > 0 {
            return None;
        }
        Some(match (requests.oldest_anonymous(), requests.is_known) {
            (Some(begun_at), _) => (Rank::InUse, begun_at),
            (None, false) => (Rank::IdleUnknown, requests.used_at),
            (None, true) => (Rank::IdleKnown, requests.used_at),
        })
    }

    /// Returns true if a request without a session is open.
    pub(super) fn serves_anonymous(&self) -> bool {
        self.requests().oldest_anonymous().is_some()
    }

    /// Returns true if a session has used the connection.
    pub(crate) fn is_known(&self) -> bool {
        self.requests().is_known
    }

    /// Returns true if a request is open.
    pub(crate) fn serves_request(&self) -> bool {
        !self.requests().open.is_empty()
    }

    /// Returns true if a request of a session is open.
    pub(crate) fn serves_session(&self) -> bool {
        self.requests().of_sessions > 0
    }

    /// Returns true if sessions can use the connection.
    pub(super) fn is_usual(&self) -> bool {
        self.kind == Kind::Usual
    }

    /// Returns true if the limit per address applies.
    pub(crate) fn is_limited(&self) -> bool {
        self.address.is_some()
    }

    /// Returns true if a request has ever arrived.
    pub(crate) fn was_used(&self) -> bool {
        self.requests().count > 0
    }

    /// Waits until the connection's time is over: for its first request, for its next request, or for
    /// a request without a session.
    pub(crate) async fn time_is_over(&self) {
        loop {
            let limit = self.requests().limit();
            let now = Duration::from_millis(self.now());
            let left = limit.map_or(ANONYMOUS_TIME, |limit| limit.saturating_sub(now));
            if left.is_zero() {
                return;
            }
            // A request that begins meanwhile has at least this much time.
            tokio::time::sleep(left.min(ANONYMOUS_TIME)).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    /// Returns when the oldest open request without a session began.
    fn oldest_anonymous(&self) -> Option<u64> {
        let mut anonymous = self.open.values().filter(|open| !open.is_of_session);
        anonymous.next().map(|open| open.begun_at)
    }

    /// Returns when the connection has to close if nothing changes.
    fn limit(&self) -> Option<Duration> {
        let (since, time) = match self.oldest_anonymous() {
            Some(begun_at) => (begun_at, ANONYMOUS_TIME),
            None if self.of_sessions > 0 => return None,
            None if self.count == 0 => (self.used_at, HEADER_TIME),
            None => (self.used_at, IDLE_TIME),
        };
        Some(Duration::from_millis(since) + time)
    }
}

impl OpenRequest {
    /// Records that the request belongs to a session. Returns false and closes the connection if
    /// sessions cannot use it.
    #[must_use]
    pub(crate) fn record_session(&self) -> bool {
        if !self.connection.is_usual() {
            self.connection.closing.cancel();
            return false;
        }
        let mut requests = self.connection.requests();
        // Another connection may already have its place.
        if requests.makes_room {
            return false;
        }
        if self.is_of_session.swap(true, Ordering::Relaxed) {
            return true;
        }
        self.connection.anonymous.fetch_sub(1, Ordering::Relaxed);
        requests.is_known = true;
        if let Some(open) = requests.open.get_mut(&self.number) {
            open.is_of_session = true;
            requests.of_sessions += 1;
        }
        true
    }

    /// Records that the request is for a stream, for which a shutdown does not wait.
    pub(crate) fn record_stream(&self) {
        let mut call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        *call = None;
    }

    /// Records that the whole response was sent.
    pub(crate) fn finish(&self) {
        self.is_finished.store(true, Ordering::Relaxed);
    }

    /// Returns true if the request belongs to a session.
    pub(crate) fn is_of_session(&self) -> bool {
        self.is_of_session.load(Ordering::Relaxed)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let (is_of_session, is_finished) = (
            self.is_of_session(),
            self.is_finished.load(Ordering::Relaxed),
        );
        let mut requests = self.connection.requests();
        if !is_of_session && !requests.makes_room {
            self.connection.anonymous.fetch_sub(1, Ordering::Relaxed);
        }
        requests.open.remove(&self.number);
        requests.used_at = self.connection.now();
        if is_of_session {
            requests.of_sessions -= 1;
        } else if !is_finished {
            requests.abandoned += 1;
            // A proxy aborts the requests of all its visitors.
            if requests.abandoned > MAX_ABANDONED && self.connection.address.is_some() {
                self.connection.closing.cancel();
            }
        }
    }
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpenRequest")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    /// Returns how many seconds a connection may go on, as it is after `change`.
    async fn time_of(change: impl FnOnce(&Arc<Connection>) -> Vec<OpenRequest>) -> Option<u64> {
        let connection = Connection::new(None, Kind::Usual, Instant::now(), Arc::default());
        let _open = change(&connection);
        let start = Instant::now();
        let is_over = tokio::time::timeout(Duration::from_secs(3600), connection.time_is_over());
        is_over.await.ok()?;
        Some(start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn connection_timeout_depends_on_its_requests() {
        let begun = |connection: &Arc<Connection>| connection.begin(TaskTracker::new().token());
        let of_session = |connection: &Arc<Connection>| {
            let request = begun(connection);
            assert!(request.record_session());
            request
        };
        assert_eq!(time_of(|_| Vec::new()).await, Some(15));
        let used = |connection: &Arc<Connection>| {
            drop(begun(connection));
            Vec::new()
        };
        assert_eq!(time_of(used).await, Some(180));
        assert_eq!(time_of(|one| vec![begun(one)]).await, Some(60));
        assert_eq!(time_of(|one| vec![of_session(one)]).await, None);
        let both = |one: &Arc<Connection>| vec![of_session(one), begun(one)];
        assert_eq!(time_of(both).await, Some(60));
    }
}
