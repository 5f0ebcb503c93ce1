//! How many lines refused requests get in the log.
//!
//! Owns: the number of lines in a time, and what is said of the rest. Does not own: what a line says.
//!
//! A visitor that is refused a thousand times a second must not fill the disk with it. Requests that
//! succeed have all their lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

/// How many refused requests have a line until the next summary.
const LINES: u32 = 100;

#[derive(Default)]
pub(crate) struct RequestLog(Mutex<Refused>);

/// Requests that were refused since the last summary.
#[derive(Default)]
struct Refused {
    lines: u32,
    /// How many had no line, by status.
    others: BTreeMap<u16, u64>,
}

impl RequestLog {
    /// Returns whether a request that was answered with this status gets a line.
    pub(crate) fn takes(&self, status: StatusCode) -> bool {
        if !status.is_client_error() {
            return true;
        }
        let mut refused = self.refused();
        if refused.lines < LINES {
            refused.lines += 1;
            return true;
        }
        *refused.others.entry(status.as_u16()).or_default() += 1;
        false
    }

    /// Logs how many refused requests had no line, and begins to count anew.
    pub(crate) fn summarize(&self) {
        let Refused { others, .. } = std::mem::take(&mut *self.refused());
        let mut statuses = String::new();
        for (status, count) in &others {
            let separator = if statuses.is_empty() { "" } else { ", " };
            write!(statuses, "{separator}{count} with {status}")
                .expect("a String takes everything");
        }
        if !others.is_empty() {
            tracing::warn!(statuses, "more requests were refused");
        }
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_requests_have_few_lines_and_others_have_all() {
        let log = RequestLog::default();
        let lines = |status| {
            let lines = (0..1_000).filter(|_| log.takes(status));
            lines.count()
        };
        assert_eq!(lines(StatusCode::NOT_FOUND), 100);
        assert_eq!(lines(StatusCode::UNAUTHORIZED), 0);
        assert_eq!(lines(StatusCode::OK), 1_000);
        assert_eq!(lines(StatusCode::SERVICE_UNAVAILABLE), 1_000);
        let counted: Vec<_> = log.refused().others.clone().into_iter().collect();
        assert_eq!(counted, [(401, 1_000), (404, 900)]);
        log.summarize();
        assert!(log.refused().others.is_empty());
        assert_eq!(lines(StatusCode::NOT_FOUND), 100);
    }
}
