//! Detects that the machine has slept.
//!
//! Owns: comparing the clock with a timer that stands still during sleep. Does not own: what
//! follows. The network may have changed meanwhile, and old connections may be dead without an
//! error.

use std::time::Duration;

use model::Clock;

/// How often the clock is compared, and so the maximum delay of the detection.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// A timer that is later than this counts as sleep and not as a busy machine. It may also mean that
/// the clock was set, which does no harm.
const MIN_SLEEP: Duration = Duration::from_secs(20);

/// Calls `on_resume` after each sleep. Never returns.
pub(crate) async fn watch(clock: &Clock, on_resume: impl Fn()) {
    loop {
        let before = clock.now();
        tokio::time::sleep(POLL_INTERVAL).await;
        // A clock that was set back proves nothing.
        let passed = clock.now().duration_since(before).unwrap_or_default();
        if passed > POLL_INTERVAL + MIN_SLEEP {
            tracing::info!(seconds = passed.as_secs(), "the machine has slept");
            on_resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use model::ManualClock;
    use tokio::time::{advance, timeout};

    use super::{POLL_INTERVAL, watch};

    #[tokio::test(start_paused = true)]
    async fn watch_detects_sleep() {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let times = Cell::new(0);
        let handle = clock.clock();
        let watching = watch(&handle, || times.set(times.get() + 1));
        tokio::pin!(watching);
        let looked = async |passed: Duration| {
            clock.advance(passed);
            advance(POLL_INTERVAL).await;
        };
        for (passed, expected) in [(10, 0), (25, 0), (3600, 1), (10, 1), (60, 2)] {
            // The watch reads the clock before anything happens.
            assert!(timeout(Duration::ZERO, &mut watching).await.is_err());
            looked(Duration::from_secs(passed)).await;
            assert!(timeout(Duration::ZERO, &mut watching).await.is_err());
            assert_eq!(times.get(), expected, "{passed} s");
        }
    }
}
