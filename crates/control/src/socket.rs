//! The bridge's sockets: local, of this user, of one bridge.
//!
//! Invariants: only the user who runs the bridge gets through; one bridge per [`Home`] listens;
//! a socket file left behind by a dead bridge never stands in the way.

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
    /// Its process id, where the system tells.
    pub pid: Option<u32>,
}

/// Why the sockets cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another bridge has them.
    #[error("a bridge already runs for this user; hint: `postern status` shows it")]
    InUse,
    /// The folder belongs to somebody else.
    #[error("{0} belongs to another user; hint: remove it, or say --home FOLDER")]
    OtherUser(PathBuf),
    /// The system refused.
    #[error("the sockets in {path} cannot be opened: {reason}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

/// The URL of a socket as hosts take one, VS Code among them: its path is the socket's name, and
/// what to ask there follows as the fragment, as in `unix:///run/user/1000/postern/http.sock#/x`.
fn url(scheme: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let path = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("{scheme}{}", path.collect::<String>())
}

/// How long a listener rests that the system gives nothing to accept with. Descriptors, most
/// likely: they come back as soon as others close theirs.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// What the failures of one `accept` lead to, until it succeeds.
#[derive(Default)]
struct AcceptBackoff {
    is_logged: bool,
}

impl AcceptBackoff {
    /// Rests before the next try. A log that said the same with every try would only fill up.
    async fn rest(&mut self, reason: &io::Error) {
        if !self.is_logged {
            tracing::warn!(%reason, "no connection can be accepted for now");
            self.is_logged = true;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// The lock of the bridge that listens, unless another one has it. The system lets go of it with
/// the process.
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
    fn a_socket_has_a_url_that_names_it_whole() {
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
