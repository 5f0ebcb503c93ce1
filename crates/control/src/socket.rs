//! The bridge's local sockets.
//!
//! Invariants: only the bridge's user can connect. Only one bridge per [`Home`] listens. A stale socket
//! file of a dead bridge does not prevent a new one from listening.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
pub(crate) mod windows;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::home::SocketKind;
#[cfg(unix)]
pub use unix::{Listener, Reader, Stream, Writer, connect, server_process, split};
#[cfg(windows)]
pub use windows::{Listener, Reader, Stream, Writer, connect, server_process, split};

#[cfg(doc)]
use crate::Home;

/// Returns whether connecting failed because no bridge listens.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), ConnectionRefused | NotFound)
}

/// The process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process ID, if the system tells it.
    pub pid: Option<u32>,
}

/// Why the sockets cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another bridge has them.
    #[error("a bridge already runs for this user; hint: `postern status` shows it")]
    InUse,
    /// The folder belongs to another user.
    #[error("{0} belongs to another user; hint: remove it, or add --home FOLDER")]
    OtherUser(PathBuf),
    /// A system call failed.
    #[error("the sockets in {path} cannot be opened: {reason}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

/// Returns the URL of a socket in the form that hosts such as VS Code support: its path is the
/// socket's name, and the request path follows as the fragment, as in
/// `unix:///run/user/1000/postern/http.sock#/x`.
fn url(scheme: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("{scheme}{}", path.collect::<String>())
}

/// The delay before the next `accept` after the system lacked resources. Most often these are
/// descriptors, which are available again once other connections close.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Delays the retries of one `accept`, and logs its first error.
#[derive(Default)]
struct AcceptBackoff {
    is_logged: bool,
}

impl AcceptBackoff {
    /// Waits before the next attempt. Logs only the first error, so that retries do not fill the log.
    async fn rest(&mut self, reason: &io::Error) {
        if !self.is_logged {
            tracing::warn!(%reason, "no connection can be accepted for now");
            self.is_logged = true;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Acquires the lock of the listening bridge. Returns `None` if another bridge has it. The system
/// releases it when the process ends.
fn lock(run_dir: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(run_dir.join("bridge.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn url_contains_complete_socket_name() {
        assert_eq!(
            url("unix://", "/run/x/http.sock"),
            "unix:///run/x/http.sock"
        );
        let spaced = url("unix://", "/Users/ä/Application Support/#1/http.sock");
        assert_eq!(
            spaced,
            "unix:///Users/%C3%A4/Application%20Support/%231/http.sock"
        );
        let pipe = url("pipe:", r"\\.\pipe\postern-S-1-http");
        assert_eq!(pipe, "pipe:%5C%5C.%5Cpipe%5Cpostern-S-1-http");
    }
}
