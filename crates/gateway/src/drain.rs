//! The end of a gateway: requests finish, then streams end.
//!
//! Owns: which requests it waits for and for how long. Does not own: connections and listeners.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::timeouts::GRACE;

/// How a gateway ends.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    /// Told to end.
    pub(crate) shutdown: CancellationToken,
    /// The requests that are carried out. Each has a token of it, but for streams.
    pub(crate) calls: TaskTracker,
    /// How long they may go on.
    pub(crate) time: Duration,
    /// Cancelled when they have ended, or that time is over: streams end then.
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
            // One may have begun since the last one ended.
            while !self.calls.is_empty() {
                self.calls.wait().await;
            }
        };
        if tokio::time::timeout(self.time, ended).await.is_err() {
            let calls = self.calls.len();
            tracing::warn!(
                calls,
                "requests are cut off that took longer than drain_seconds"
            );
        }
        self.cut.cancel();
    }

    /// Waits until a connection is cut.
    pub(crate) async fn is_over(&self) {
        self.cut.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }
}
