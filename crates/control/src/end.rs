//! Ending a bridge that does not respond.
//!
//! Invariant: ends only a process of this user that currently has the bridge's socket. Its ID comes
//! from the socket, and is used only while a connection to it is open: then the process lives, and its
//! ID was not reused.
//!
//! Owns: ending the process, by force if necessary. Does not own: the decision to end a bridge.

#[cfg(unix)]
#[path = "end/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "end/windows.rs"]
mod system;

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::Home;
use crate::socket::{self, Reader, SocketKind, Stream};

/// How long to wait to see whether a connection is already closed.
const PROBE_TIMEOUT: Duration = Duration::from_millis(20);

/// How long a process may take to end after the termination request. A working process ends at once, a
/// stopped or stuck one never does.
const TERM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the system may take to kill a process, whose memory is freed first.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the bridge still runs.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The system does not tell which process has the sockets.
    #[error("the process of the bridge is not known; hint: end it manually")]
    Unknown,
    /// The system does not allow ending it.
    #[error("the bridge (process {pid}) cannot be ended: {reason}; hint: end it manually")]
    Refused {
        /// Its process ID.
        pid: u32,
        /// The system's error.
        reason: io::Error,
    },
    /// It did not end in time.
    #[error("the bridge (process {0}) did not end; hint: end it manually, or restart the computer")]
    StillRunning(u32),
}

/// Ends the bridge that has the sockets, by force if necessary. Returns its process ID, or `None` if
/// no bridge runs.
///
/// # Errors
/// See [`EndError`].
pub async fn end(home: &Home) -> Result<Option<u32>, EndError> {
    let Some(stream) = connection(home).await? else {
        return Ok(None);
    };
    let pid = socket::server_process(&stream)
        .filter(|pid| *pid > 1 && *pid != std::process::id())
        .ok_or(EndError::Unknown)?;
    let refused = |reason| EndError::Refused { pid, reason };
    let (mut reader, _writer) = socket::split(stream).map_err(refused)?;
    if is_closed(&mut reader, PROBE_TIMEOUT).await {
        return Ok(None);
    }
    system::terminate(pid).map_err(refused)?;
    if is_closed(&mut reader, TERM_TIMEOUT).await {
        return Ok(Some(pid));
    }
    system::kill(pid).map_err(refused)?;
    match is_closed(&mut reader, KILL_TIMEOUT).await {
        true => Ok(Some(pid)),
        false => Err(EndError::StillRunning(pid)),
    }
}

/// Connects to the control socket, or to another one if that accepts no connections. Returns `None` if
/// there is no control socket, because then the bridge has ended or is shutting down.
async fn connection(home: &Home) -> Result<Option<Stream>, EndError> {
    match socket::connect(home, SocketKind::Control).await {
        Ok(stream) => return Ok(Some(stream)),
        Err(error) if socket::is_absent(&error) => return Ok(None),
        Err(error) => tracing::debug!(%error, "the control socket accepts no connection"),
    }
    for kind in [SocketKind::Http, SocketKind::Mcp] {
        if let Ok(stream) = socket::connect(home, kind).await {
            return Ok(Some(stream));
        }
    }
    Err(EndError::Unknown)
}

/// Returns whether the other end closes the connection in time. Discards what it sends before.
async fn is_closed(reader: &mut Reader, within: Duration) -> bool {
    let closed = async {
        let mut rest = [0; 256];
        while reader.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    timeout(within, closed).await.is_ok()
}
