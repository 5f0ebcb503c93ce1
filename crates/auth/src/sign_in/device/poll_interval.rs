//! The poll interval of device codes (RFC 8628 §3.5).

use std::time::Duration;

/// The default if the server names none, in seconds.
const DEFAULT: u64 = 5;

/// The minimum. A server that says 0 is not polled continuously.
const MIN: u64 = 1;

/// The maximum, in seconds. The user would give up beyond it.
const MAX: u64 = 60;

/// How much `slow_down` adds to the interval, in seconds.
const SLOW_DOWN_STEP: u64 = 5;

/// The time between two polls.
pub(super) struct PollInterval {
    /// The server's interval, in seconds.
    interval: u64,
    /// The interval before the next poll, longer after errors.
    next: u64,
}

impl PollInterval {
    pub(super) fn new(interval: Option<u64>) -> Self {
        let interval = interval.unwrap_or(DEFAULT).clamp(MIN, MAX);
        Self {
            interval,
            next: interval,
        }
    }

    /// Returns how long to wait before the next poll.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs(self.next)
    }

    /// Returns to the server's interval.
    pub(super) fn reset(&mut self) {
        self.next = self.interval;
    }

    /// Applies `slow_down`.
    pub(super) fn slow_down(&mut self) {
        self.interval = (self.interval + SLOW_DOWN_STEP).min(MAX);
        self.next = self.interval;
    }

    /// Backs off after an unreachable or busy server: doubles the wait, or waits as long as the
    /// server said.
    pub(super) fn back_off(&mut self, retry_after: Option<Duration>) {
        let longer = (self.next * 2).min(MAX);
        self.next = retry_after.map_or(longer, |wait| wait.as_secs().max(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PollInterval;

    #[test]
    fn poll_interval_follows_server_and_backs_off() {
        let seconds = |poll_interval: &PollInterval| poll_interval.duration().as_secs();
        assert_eq!(seconds(&PollInterval::new(None)), 5);
        assert_eq!(seconds(&PollInterval::new(Some(0))), 1);
        let mut poll_interval = PollInterval::new(Some(2));
        poll_interval.slow_down();
        assert_eq!(seconds(&poll_interval), 7, "five seconds more");
        poll_interval.slow_down();
        assert_eq!(seconds(&poll_interval), 12, "and for good");
        poll_interval.back_off(None);
        assert_eq!(seconds(&poll_interval), 24);
        poll_interval.back_off(None);
        assert_eq!(seconds(&poll_interval), 48);
        poll_interval.back_off(None);
        assert_eq!(seconds(&poll_interval), 60, "within a bound");
        poll_interval.reset();
        assert_eq!(seconds(&poll_interval), 12, "until it is there again");
        poll_interval.back_off(Some(Duration::from_secs(90)));
        assert_eq!(seconds(&poll_interval), 90, "as the server said");
    }
}
