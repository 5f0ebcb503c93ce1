//! The open HTTP+SSE streams.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp::Message;
use mcp::memory::Account;
use tokio::sync::mpsc;

/// How often ended streams are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The open streams, by session id.
#[derive(Debug, Default)]
pub(super) struct SseStreams(Mutex<HashMap<String, SseStream>>);

/// An open stream.
#[derive(Debug)]
pub(super) struct SseStream {
    pub(super) server: String,
    pub(super) to: mpsc::Sender<Message>,
    /// The memory of the host's messages.
    pub(super) memory: Account,
}

impl SseStreams {
    fn map(&self) -> MutexGuard<'_, HashMap<String, SseStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, id: String, stream: SseStream) {
        self.map().insert(id, stream);
    }

    /// Returns the ends of the stream `id` of `server`.
    pub(super) fn find(&self, server: &str, id: &str) -> Option<(mpsc::Sender<Message>, Account)> {
        let map = self.map();
        let open = map.get(id).filter(|open| open.server == server)?;
        Some((open.to.clone(), open.memory.clone()))
    }

    /// Removes ended streams until the bridge ends.
    pub(super) async fn sweep_expired(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.map().retain(|_, open| !open.to.is_closed());
        }
    }
}
