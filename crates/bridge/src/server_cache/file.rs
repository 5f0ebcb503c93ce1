//! The file that keeps a server's cache across restarts.
//!
//! Owns: that older content never replaces newer content, and that nothing is written after the
//! server was removed. Does not own: when it is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::ServerCache;

/// The file of one server.
#[derive(Debug)]
pub(crate) struct CacheFile {
    path: PathBuf,
    /// Whether there are unwritten changes.
    is_due: AtomicBool,
    /// Notifies the bridge that a file is due.
    due: Arc<Notify>,
    /// Locked while the file is written or removed.
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InUse,
    Removed,
}

impl CacheFile {
    pub(crate) fn new(path: PathBuf, due: Arc<Notify>) -> Self {
        Self {
            path,
            is_due: AtomicBool::new(false),
            due,
            state: Mutex::new(State::InUse),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Marks the file as due.
    pub(crate) fn set_due(&self) {
        self.is_due.store(true, Ordering::Release);
        self.due.notify_one();
    }

    pub(crate) fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Acquire)
    }

    /// Writes what `cache` returns. Calls it after all earlier writes, so it is the newest content.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be written.
    pub(crate) fn write(&self, cache: impl FnOnce() -> ServerCache) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_due.store(false, Ordering::Release);
        let written = match *state {
            State::InUse => cache()
                .text()
                .and_then(|text| crate::config_file::write(&self.path, &text)),
            State::Removed => Ok(()),
        };
        if written.is_err() {
            // The next write, or the last one, may succeed.
            self.is_due.store(true, Ordering::Release);
        }
        written
    }

    /// Deletes the content, for the case that the new content cannot be written. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be deleted.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let _state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        removed(&self.path)
    }

    /// Deletes the file for good. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be deleted.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Removed;
        removed(&self.path)
    }
}

fn removed(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
