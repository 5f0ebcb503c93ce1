//! Ending a bridge that does not react.
//!
//! Invariant: only the process of this user that has the bridge's socket now is ended. Its id comes
//! from the socket, and is trusted only while a connection to it stands: then that process lives,
//! and no other one has its id.
//!
//! Does not own: when a bridge is to be ended.

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

/// How long it takes at most to see that a connection is closed already.
const PROBE_TIMEOUT: Duration = Duration::from_millis(20);

/// How long a process may take to follow the request to end. One that can do so, does at once; one
/// that is stopped or stuck never does.
const TERM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the system may take to end it then: its memory is given back first.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the bridge still runs.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The system does not say which process has the sockets.
    #[error("the process of the bridge is not known; hint: end it by hand")]
    Unknown,
    /// The system does not let it be ended.
    #[error("the bridge (process {pid}) cannot be ended: {reason}; hint: end it by hand")]
    Refused {
        /// Its process.
        pid: u32,
        /// Why.
        reason: io::Error,
    },
    /// It was told to end, and has not.
    #[error("the bridge (process {0}) did not end; hint: end it by hand, or restart the computer")]
    StillRunning(u32),
}

/// Ends the bridge that has the sockets, by force if need be. Returns its process, or `None` if
/// none runs.
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

/// Any socket will do if the first has no room left. A bridge without the first is about to end.
async fn connection(home: &Home) -> Result<Option<Stream>, EndError> {
    match socket::connect(home, SocketKind::Control).await {
        Ok(stream) => return Ok(Some(stream)),
        Err(error) if socket::is_absent(&error) => return Ok(None),
        Err(error) => tracing::debug!(%error, "the control socket takes no connection"),
    }
    for kind in [SocketKind::Http, SocketKind::Mcp] {
        if let Ok(stream) = socket::connect(home, kind).await {
            return Ok(Some(stream));
        }
    }
    Err(EndError::Unknown)
}

/// Returns whether the other end closes its side in time. What it says until then means nothing.
async fn is_closed(reader: &mut Reader, within: Duration) -> bool {
    let closed = async {
        let mut rest = [0; 256];
        while reader.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    timeout(within, closed).await.is_ok()
}
