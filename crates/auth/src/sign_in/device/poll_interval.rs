//! How often is asked whether somebody entered the code (RFC 8628 section 3.5).

use std::time::Duration;

/// Where the server does not say.
const USUAL: u64 = 5;

/// A server that says 0 is not asked without end.
const SHORTEST: u64 = 1;

/// The longest that a server makes us wait, in seconds: beyond it somebody would give up.
const LONGEST: u64 = 60;

/// By how much `slow_down` makes every wait longer, in seconds.
const SLOWER: u64 = 5;

/// The time between two questions.
pub(super) struct Pace {
    /// What the server said, in seconds.
    interval: u64,
    /// What trouble has made of it for the next question.
    next: u64,
}

impl Pace {
    pub(super) fn new(interval: Option<u64>) -> Self {
        let interval = interval.unwrap_or(USUAL).clamp(SHORTEST, LONGEST);
        Self {
            interval,
            next: interval,
        }
    }

    /// How long to wait before the next question.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.next)
    }

    /// The server is there, and waits as we do.
    pub(super) fn keep(&mut self) {
        self.next = self.interval;
    }

    /// The server said `slow_down`.
    pub(super) fn slow_down(&mut self) {
        self.interval = (self.interval + SLOWER).min(LONGEST);
        self.next = self.interval;
    }

    /// The server was not reached, or is busy: twice as long, or as long as it said.
    pub(super) fn back_off(&mut self, retry_after: Option<Duration>) {
        let longer = (self.next * 2).min(LONGEST);
        self.next = retry_after.map_or(longer, |wait| wait.as_secs().max(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn the_server_says_how_often_and_trouble_makes_it_seldom() {
        let seconds = |pace: &Pace| pace.interval().as_secs();
        assert_eq!(seconds(&Pace::new(None)), 5);
        assert_eq!(seconds(&Pace::new(Some(0))), 1);
        let mut pace = Pace::new(Some(2));
        pace.slow_down();
        assert_eq!(seconds(&pace), 7, "five seconds more");
        pace.slow_down();
        assert_eq!(seconds(&pace), 12, "and for good");
        pace.back_off(None);
        assert_eq!(seconds(&pace), 24);
        pace.back_off(None);
        assert_eq!(seconds(&pace), 48);
        pace.back_off(None);
        assert_eq!(seconds(&pace), 60, "within a bound");
        pace.keep();
        assert_eq!(seconds(&pace), 12, "until it is there again");
        pace.back_off(Some(Duration::from_secs(90)));
        assert_eq!(seconds(&pace), 90, "as the server said");
    }
}
