//! The shutdown of a gateway: requests finish, then streams end.
//!
//! Owns: which requests it waits for and for how long. Does not own: connections and listeners.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::timeouts::GRACE;

/// The shutdown of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// Cancelled when the shutdown begins.
    pub(crate) shutdown: CancellationToken,
    /// The pending requests. Each has a token of it, except for streams.
    pub(crate) calls: TaskTracker,
    /// How long pending requests may take.
    pub(crate) time: Duration,
    /// Cancelled when all pending requests have ended, or that time is over. Streams end then.
    pub(crate) cut: CancellationToken,
}

impl Drain {
    pub(crate) fn new(shutdown: CancellationToken, time: Duration) -> Self {
        Self {
            shutdown,
            calls: TaskTracker::new(),
            time,
            cut: CancellationToken::new(),
        }
    }

    /// Waits for the requests, then ends the streams.
    pub(crate) async fn run(&self) {
        self.calls.close();
        let ended = async {
            // Another request may have begun since the last one ended.
            while !self.calls.is_empty() {
                self.calls.wait().await;
            }
        };
        if tokio::time::timeout(self.time, ended).await.is_err() {
            let calls = self.calls.len();
            tracing::warn!(
                calls,
                "requests that took longer than drain_seconds are aborted"
            );
        }
        self.cut.cancel();
    }

    /// Waits until connections are to be closed: [`GRACE`] after the streams were cut.
    pub(crate) async fn is_over(&self) {
        self.cut.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }
}
