//! The tasks of the bridge.
//!
//! Owns: which tasks the bridge waits for when it ends, and the token that ends them. Does not own:
//! what they do, and when the bridge ends (`lifecycle`).

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs tasks. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Background {
    /// Creates it without tasks. `shutdown` ends the bridge.
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        Self { tasks, shutdown }
    }

    /// Returns the token that ends the bridge.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Spawns a task that the bridge waits for when it ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Spawns a task that is dropped when the bridge ends.
    pub(crate) fn spawn_until_shutdown(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            shutdown.run_until_cancelled(task).await;
        });
    }

    /// Ends the bridge. Waits until every task has ended, `timeout` at most.
    pub(crate) async fn end(&self, timeout: Duration) {
        self.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(timeout, self.tasks.wait()).await;
    }
}
