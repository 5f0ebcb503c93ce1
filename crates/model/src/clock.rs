//! The clock. Only this module reads the system's time. All other code takes a [`Clock`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A source of time: the system's in programs, a [`ManualClock`] in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "only this function may")]
        Self(Arc::new(SystemTime::now))
    }

    /// Returns a clock that always shows `at`.
    #[must_use]
    pub fn fixed(at: SystemTime) -> Self {
        Self(Arc::new(move || at))
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Returns the seconds since 1970, as in JWTs and RFC 7591. Returns 0 for earlier times.
    #[must_use]
    pub fn unix(&self) -> u64 {
        self.now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |age| age.as_secs())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// A clock that a test advances.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<SystemTime>>);

impl ManualClock {
    /// Starts at `at`.
    #[must_use]
    pub fn new(at: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    /// Moves time forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now += by;
    }

    /// Returns a [`Clock`] that shows this clock's time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let shared = Arc::clone(&self.0);
        Clock(Arc::new(move || {
            *shared.lock().unwrap_or_else(PoisonError::into_inner)
        }))
    }
}

/// A clock that is ahead of another one.
#[derive(Clone, Debug)]
pub struct AheadClock {
    base: Clock,
    ahead: Arc<Mutex<Duration>>,
}

impl AheadClock {
    /// Creates a clock with the time of `base`.
    #[must_use]
    pub fn new(base: Clock) -> Self {
        Self {
            base,
            ahead: Arc::default(),
        }
    }

    /// Moves this clock forward. Does nothing if the time would not be representable.
    pub fn advance(&self, by: Duration) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = ahead.saturating_add(by);
        if self.base.now().checked_add(wanted).is_some() {
            *ahead = wanted;
        }
    }

    /// Returns how far this clock is ahead.
    #[must_use]
    pub fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a [`Clock`] that shows this clock's time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Clock(Arc::new(move || this.base.now() + this.ahead()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{AheadClock, ManualClock};

    #[test]
    fn ahead_clock_keeps_its_offset() {
        let base = ManualClock::new(SystemTime::UNIX_EPOCH);
        let ahead = AheadClock::new(base.clock());
        let clock = ahead.clock();
        assert_eq!(clock.unix(), 0);
        ahead.advance(Duration::from_secs(60));
        base.advance(Duration::from_secs(5));
        ahead.advance(Duration::from_secs(10));
        assert_eq!((clock.unix(), ahead.ahead().as_secs()), (75, 70));
        ahead.advance(Duration::MAX);
        assert_eq!(clock.unix(), 75, "the time is not representable");
    }
}
