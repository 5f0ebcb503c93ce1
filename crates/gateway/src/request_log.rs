//! How many lines the requests of visitors get in the log.
//!
//! Owns: the number of lines in a time, and what is said of the rest. Does not own: what a line says.
//!
//! A visitor that asks a thousand times a second must not fill the disk with it. Requests of sessions
//! have all their lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

/// How many requests without a session have a line until the next summary: of those that were answered,
/// of those that were refused, and of those that failed.
const LINES: u32 = 100;

#[derive(Default)]
pub(crate) struct RequestLog(Mutex<Noted>);

/// Requests without a session since the last summary.
#[derive(Default)]
struct Noted {
    /// How many had a line, by the first digit of their status.
    lines: BTreeMap<u16, u32>,
    /// How many had none, by status.
    others: BTreeMap<u16, u64>,
}

impl RequestLog {
    /// Returns whether a request without a session that was answered with this status gets a line.
    pub(crate) fn takes(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        let mut noted = self.noted();
        let lines = noted.lines.entry(status / 100).or_default();
        if *lines < LINES {
            *lines += 1;
            return true;
        }
        *noted.others.entry(status).or_default() += 1;
        false
    }

    /// Logs how many requests had no line, and resets the counts.
    pub(crate) fn summarize(&self) {
        let Noted { others, .. } = std::mem::take(&mut *self.noted());
        let mut statuses = String::new();
        for (status, count) in &others {
            let separator = if statuses.is_empty() { "" } else { ", " };
            write!(statuses, "{separator}{count} with {status}")
                .expect("a String takes everything");
        }
        if !others.is_empty() {
            tracing::warn!(statuses, "there were more requests without a session");
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_session_are_logged_up_to_limit() {
        let log = RequestLog::default();
        let lines = |status| {
            let lines = (0..1_000).filter(|_| log.takes(status));
            lines.count()
        };
        assert_eq!(lines(StatusCode::NOT_FOUND), 100);
        assert_eq!(lines(StatusCode::UNAUTHORIZED), 0);
        assert_eq!(lines(StatusCode::OK), 100);
        assert_eq!(lines(StatusCode::SERVICE_UNAVAILABLE), 100);
        let counted: Vec<_> = log.noted().others.clone().into_iter().collect();
        assert_eq!(counted, [(200, 900), (401, 1_000), (404, 900), (503, 900)]);
        log.summarize();
        assert!(log.noted().others.is_empty());
        assert_eq!(lines(StatusCode::NOT_FOUND), 100);
    }
}
