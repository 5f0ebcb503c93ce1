//! Notices that the machine has slept.
//!
//! Owns: comparing the time with the clock that stands still meanwhile, or that no timer keeps
//! up with. Does not own: what is done then. The network, too, may be another one by then, and
//! what is connected by the old one is dead without a word.

use std::time::Duration;

use model::Clock;

/// How often it is looked, and so how late it is noticed.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Time that has passed beyond that is sleep, and not a busy machine. It may also be a clock that
/// was set, which does no harm.
const MIN_SLEEP: Duration = Duration::from_secs(20);

/// Calls `on_resume` after each sleep. Never ends.
pub(crate) async fn watch(clock: &Clock, on_resume: impl Fn()) {
    loop {
        let before = clock.now();
        tokio::time::sleep(POLL_INTERVAL).await;
        // A clock that was set back says nothing.
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
    async fn an_hour_that_no_timer_saw_was_slept() {
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
            // It looks at the clock before anything happens.
            assert!(timeout(Duration::ZERO, &mut watching).await.is_err());
            looked(Duration::from_secs(passed)).await;
            assert!(timeout(Duration::ZERO, &mut watching).await.is_err());
            assert_eq!(times.get(), expected, "{passed} s");
        }
    }
}
