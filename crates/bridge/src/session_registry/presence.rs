//! Whether the host of a session over Streamable HTTP is present, as far as that can be observed.
//!
//! Owns: how many requests and streams a host has open, since when it has none, and its state in
//! the list of sessions. Does not own: how long a session is kept for a host that comes back.
//!
//! Such a host needs no open connection, and may end without a DELETE. It is active while one of
//! its requests or streams is open, and idle afterwards. It is no longer listed once its process
//! has ended, or after [`LISTED_FOR`] if its process is not known. It is listed again with its next
//! request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use control::api::{SessionState, UnixSeconds};
use control::peer::Process;
use model::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::notifications::Notifications;

/// How long a host stays active after a request ends: a busy host pauses between two.
const ACTIVE_FOR: Duration = Duration::from_secs(2);

/// How long an idle host is listed if its process is not known.
const LISTED_FOR: Duration = Duration::from_secs(5 * 60);

/// The presence of one session's host.
#[derive(Clone, Debug)]
pub(crate) struct Presence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    notifications: Notifications,
    inner: Mutex<Inner>,
    /// Wakes the [watch] of an idle host when there is something new to observe.
    woken: Arc<Notify>,
}

/// Ends the watch when the session ends.
impl Drop for Shared {
    fn drop(&mut self) {
        self.woken.notify_one();
    }
}

#[derive(Debug)]
struct Inner {
    state: HostState,
    /// The number of open requests and streams.
    open: usize,
    used: Instant,
    used_at: UnixSeconds,
    process: Option<Arc<Process>>,
    /// Whether a task waits for the host to become idle, or to end.
    is_watched: bool,
}

/// The observed state of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostState {
    Active,
    Idle {
        since: UnixSeconds,
    },
    /// Idle for so long that it may have ended.
    Silent,
    /// Its process has ended.
    Gone,
}

/// What the watch waits for next.
enum Wait {
    Until(Instant),
    End(Arc<Process>),
}

impl Presence {
    pub(crate) fn new(clock: Clock, notifications: Notifications) -> Self {
        let inner = Inner {
            state: HostState::Active,
            open: 0,
            used: Instant::now(),
            used_at: clock.unix(),
            process: None,
            is_watched: false,
        };
        Self(Arc::new(Shared {
            clock,
            notifications,
            inner: Mutex::new(inner),
            woken: Arc::default(),
        }))
    }

    /// Returns the state for the list of sessions. Returns `None` if the session is not listed.
    pub(crate) fn state(&self) -> Option<SessionState> {
        match self.inner().state {
            HostState::Active => Some(SessionState::Active),
            HostState::Idle { since } => Some(SessionState::Idle { since }),
            HostState::Silent | HostState::Gone => None,
        }
    }

    /// Returns true if the host is known to have ended. A silent host may come back.
    pub(crate) fn is_gone(&self) -> bool {
        self.inner().state == HostState::Gone
    }

    /// Counts an open request or stream of the host until the guard is dropped.
    pub(crate) fn open(&self) -> OpenGuard {
        let mut inner = self.inner();
        inner.open += 1;
        let before = std::mem::replace(&mut inner.state, HostState::Active);
        drop(inner);
        if before != HostState::Active {
            self.0.woken.notify_one();
            self.0.notifications.state_changed();
        }
        OpenGuard(self.clone())
    }

    /// Sets the process of the host.
    pub(crate) fn set_process(&self, process: Arc<Process>) {
        self.inner().process = Some(process);
        self.0.woken.notify_one();
    }

    fn close(&self) {
        let mut inner = self.inner();
        inner.open -= 1;
        inner.used = Instant::now();
        inner.used_at = self.0.clock.unix();
        let begins = inner.open == 0 && !std::mem::replace(&mut inner.is_watched, true);
        drop(inner);
        if begins {
            let woken = Arc::clone(&self.0.woken);
            tokio::spawn(watch(Arc::downgrade(&self.0), woken));
        }
    }

    /// Records what is due. Returns `None` if there is nothing to wait for.
    fn observe(&self) -> Option<Wait> {
        let mut inner = self.inner();
        let before = inner.state;
        let wait = inner.observe();
        inner.is_watched = wait.is_some();
        let is_news = inner.state != before;
        drop(inner);
        if is_news {
            self.0.notifications.state_changed();
        }
        wait
    }

    fn record_end(&self) {
        let mut inner = self.inner();
        if inner.open == 0 {
            inner.state = HostState::Gone;
        }
        // Another process may continue the session. That process is not known.
        inner.process = None;
        drop(inner);
        self.0.notifications.state_changed();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn observe(&mut self) -> Option<Wait> {
        if self.open > 0 || self.state == HostState::Gone {
            return None;
        }
        if self.used.elapsed() < ACTIVE_FOR {
            return Some(Wait::Until(self.used + ACTIVE_FOR));
        }
        let since = self.used_at;
        self.state = HostState::Idle { since };
        if let Some(process) = &self.process {
            return Some(Wait::End(Arc::clone(process)));
        }
        if self.used.elapsed() < LISTED_FOR {
            return Some(Wait::Until(self.used + LISTED_FOR));
        }
        self.state = HostState::Silent;
        None
    }
}

/// Watches a host without open requests. Returns once it has one again, is no longer listed, or its
/// session has ended.
async fn watch(host: Weak<Shared>, woken: Arc<Notify>) {
    let current = || host.upgrade().map(Presence);
    while let Some(wait) = current().and_then(|host| host.observe()) {
        match wait {
            Wait::Until(due) => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = woken.notified() => {}
            },
            Wait::End(process) => tokio::select! {
                () = process.ended() => current().iter().for_each(Presence::record_end),
                () = woken.notified() => {}
            },
        }
    }
}

/// Counts an open request or stream of the host.
#[derive(Debug)]
pub(crate) struct OpenGuard(Presence);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use control::api::SessionState;
    use model::ManualClock;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{ACTIVE_FOR, LISTED_FOR, Presence};
    use crate::notifications::Notifications;

    /// Creates a presence whose clock stands at `seconds`, with its change notifications.
    fn presence(seconds: u64) -> (Presence, ManualClock, watch::Receiver<()>) {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let notifications = Notifications::default();
        let news = notifications.state_changes();
        (Presence::new(clock.clock(), notifications), clock, news)
    }

    #[tokio::test(start_paused = true)]
    async fn host_is_active_then_idle_then_not_listed() {
        let (host, clock, mut news) = presence(100);
        let (request, stream) = (host.open(), host.open());
        drop(request);
        tokio::time::sleep(LISTED_FOR * 2).await;
        assert_eq!(host.state(), Some(SessionState::Active), "a stream is open");

        clock.advance(Duration::from_secs(7));
        let ended = Instant::now();
        drop(stream);
        assert_eq!(host.state(), Some(SessionState::Active));
        news.changed().await.unwrap();
        assert_eq!(ended.elapsed(), ACTIVE_FOR);
        assert_eq!(host.state(), Some(SessionState::Idle { since: 107 }));
        news.changed().await.unwrap();
        assert_eq!(ended.elapsed(), LISTED_FOR);
        assert_eq!(host.state(), None);
        assert!(!host.is_gone(), "it may come back");
    }

    #[tokio::test(start_paused = true)]
    async fn host_that_comes_back_is_listed_again() {
        let (host, clock, mut news) = presence(100);
        drop(host.open());
        // Once while it is idle, once when it is no longer listed.
        for (pause, since) in [(ACTIVE_FOR, 110), (LISTED_FOR, 120)] {
            tokio::time::sleep(pause * 2).await;
            assert_ne!(host.state(), Some(SessionState::Active));
            clock.advance(Duration::from_secs(10));
            news.mark_unchanged();
            let request = host.open();
            assert!(news.has_changed().unwrap());
            assert_eq!(host.state(), Some(SessionState::Active));
            news.mark_unchanged();
            drop(request);
            news.changed().await.unwrap();
            assert_eq!(host.state(), Some(SessionState::Idle { since }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn consecutive_requests_do_not_change_state() {
        let (host, _clock, mut news) = presence(100);
        for _ in 0..20 {
            drop(host.open());
            tokio::time::sleep(ACTIVE_FOR / 2).await;
        }
        assert!(!news.has_changed().unwrap());
        news.changed().await.unwrap();
        assert_eq!(host.state(), Some(SessionState::Idle { since: 100 }));
    }
}
