//! The only place that reads the system's time; everything else takes a [`Clock`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Where the time comes from: the system in programs, a [`ManualClock`] in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that may")]
        Self(Arc::new(SystemTime::now))
    }

    /// A clock that stands still.
    #[must_use]
    pub fn fixed(at: SystemTime) -> Self {
        Self(Arc::new(move || at))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// Whole seconds since 1970, as JWTs and RFC 7591 count them; 0 before that.
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

/// A clock that a test moves by hand.
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

    /// The clock that follows this one.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let shared = Arc::clone(&self.0);
        Clock(Arc::new(move || {
            *shared.lock().unwrap_or_else(PoisonError::into_inner)
        }))
    }
}

/// A clock that runs ahead of another one, by as much as it was told so far.
#[derive(Clone, Debug)]
pub struct AheadClock {
    base: Clock,
    ahead: Arc<Mutex<Duration>>,
}

impl AheadClock {
    /// Starts at the time of `base`.
    #[must_use]
    pub fn new(base: Clock) -> Self {
        Self {
            base,
            ahead: Arc::default(),
        }
    }

    /// Moves time forward; it goes on from there. As far as time can be told, and no further.
    pub fn advance(&self, by: Duration) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = ahead.saturating_add(by);
        if self.base.now().checked_add(wanted).is_some() {
            *ahead = wanted;
        }
    }

    /// How far it is ahead.
    #[must_use]
    pub fn ahead(&self) -> Duration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock that follows this one.
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
    fn a_clock_ahead_keeps_its_distance() {
        let base = ManualClock::new(SystemTime::UNIX_EPOCH);
        let ahead = AheadClock::new(base.clock());
        let clock = ahead.clock();
        assert_eq!(clock.unix(), 0);
        ahead.advance(Duration::from_secs(60));
        base.advance(Duration::from_secs(5));
        ahead.advance(Duration::from_secs(10));
        assert_eq!((clock.unix(), ahead.ahead().as_secs()), (75, 70));
        ahead.advance(Duration::MAX);
        assert_eq!(clock.unix(), 75, "beyond what time can be");
    }
}
