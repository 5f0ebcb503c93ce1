//! Limits the log lines for requests of visitors.
//!
//! Owns: the number of lines per interval, and the summary of the others. Does not own: the content of
//! a line.
//!
//! A visitor that sends a thousand requests per second must not fill the disk. Requests of sessions
//! are always logged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

/// How many requests without a session are logged until the next summary, separately for successes,
/// rejections and failures.
const LINES: u32 = 100;

#[derive(Default)]
pub(crate) struct RequestLog(Mutex<Noted>);

/// Requests without a session since the last summary.
#[derive(Default)]
struct Noted {
    /// How many were logged, by the first digit of their status.
    lines: BTreeMap<u16, u32>,
    /// How many were not logged, by status.
    others: BTreeMap<u16, u64>,
}

impl RequestLog {
    /// Returns true if a request without a session and with this status is to be logged.
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

    /// Logs how many requests were not logged, and resets the counts.
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
