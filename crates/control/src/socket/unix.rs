//! Unix sockets in a folder with mode 0700, guarded by an advisory lock.

mod ends;

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use tokio::net::{UnixListener, UnixStream};

use super::{AcceptBackoff, BindError, Peer, SocketKind, lock, url};
use crate::Home;

pub use ends::{Reader, Writer, split};

/// A connection to the bridge, or from a client.
pub type Stream = UnixStream;

/// Connects to a bridge.
///
/// # Errors
/// The system's. `NotFound` and `ConnectionRefused` mean that no bridge runs, and `PermissionDenied`
/// that the socket belongs to another user.
pub async fn connect(home: &Home, kind: SocketKind) -> io::Result<Stream> {
    let stream = UnixStream::connect(home.socket(kind)).await?;
    if stream.peer_cred()?.uid() != rustix::process::getuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(stream)
}

/// Returns the ID of the process that listens at the other end of a connection from [`connect`].
/// Returns `None` if the system does not tell.
#[must_use]
pub fn server_process(stream: &Stream) -> Option<u32> {
    let pid = stream.peer_cred().ok()?.pid()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// A listening socket. The sockets of a bridge share its lock.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    lock: Arc<File>,
}

impl Listener {
    /// Opens the sockets `Mcp` and `Control`, in this order.
    ///
    /// # Errors
    /// [`BindError::InUse`] while another bridge runs.
    pub fn bind(home: &Home) -> Result<(Self, Self), BindError> {
        let dir = home.run_dir();
        let io_error = |reason| BindError::Io {
            path: dir.to_owned(),
            reason,
        };
        create_private_dir(dir)?;
        let lock = Arc::new(lock(dir).map_err(io_error)?.ok_or(BindError::InUse)?);
        let open = |kind| Self::open(home.socket(kind), Arc::clone(&lock)).map_err(io_error);
        Ok((open(SocketKind::Mcp)?, open(SocketKind::Control)?))
    }

    /// Opens another socket of the same bridge.
    ///
    /// # Errors
    /// [`BindError::Io`].
    pub fn beside(&self, home: &Home, kind: SocketKind) -> Result<Self, BindError> {
        Self::open(home.socket(kind), Arc::clone(&self.lock)).map_err(|reason| BindError::Io {
            path: home.run_dir().to_owned(),
            reason,
        })
    }

    /// Returns its URL, `unix:///…/http.sock`, to which a host adds `#` and the request path.
    #[must_use]
    pub fn url(&self) -> String {
        url("unix://", &self.path.to_string_lossy())
    }

    fn open(path: PathBuf, lock: Arc<File>) -> io::Result<Self> {
        // While this process has the lock, an existing file belongs to a dead bridge.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { socket, path, lock })
    }

    /// Accepts the next connection of this user. Closes connections of other users. Retries if a
    /// connection has already ended, or if the system lacks descriptors.
    ///
    /// # Errors
    /// The system's, if the socket cannot accept connections any more.
    pub async fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        let mut backoff = AcceptBackoff::default();
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_connection_error(&error) => continue,
                Err(error) if is_listener_error(&error) => return Err(error),
                Err(error) => {
                    backoff.rest(&error).await;
                    continue;
                }
            };
            // Some systems have no credentials of a peer that has already closed its end.
            let Ok(peer) = stream.peer_cred() else {
                continue;
            };
            if peer.uid() == rustix::process::getuid().as_raw() {
                let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
                return Ok((stream, Peer { pid }));
            }
            tracing::warn!(uid = peer.uid(), "rejected a connection of another user");
        }
    }
}

/// Returns whether only the connection failed.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Returns whether the listening socket itself is invalid.
fn is_listener_error(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP)
    )
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn create_private_dir(dir: &Path) -> Result<(), BindError> {
    let io_error = |reason| BindError::Io {
        path: dir.to_owned(),
        reason,
    };
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(io_error)?;
    }
    match files::create_private_folder(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(error)),
        _ => {}
    }
    let found = std::fs::symlink_metadata(dir).map_err(io_error)?;
    if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
        return Err(BindError::OtherUser(dir.to_owned()));
    }
    std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::{BindError, Listener, SocketKind, connect};
    use crate::Home;

    #[tokio::test]
    async fn second_bridge_is_rejected_and_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let first = Listener::bind(&home).unwrap();
        assert!(matches!(Listener::bind(&home), Err(BindError::InUse)));
        assert!(connect(&home, SocketKind::Mcp).await.is_ok());
        drop(first);
        std::os::unix::net::UnixListener::bind(home.socket(SocketKind::Mcp)).unwrap();
        assert!(connect(&home, SocketKind::Mcp).await.is_err());
        let (mut mcp, _control) = Listener::bind(&home).unwrap();
        let (connected, accepted) = tokio::join!(connect(&home, SocketKind::Mcp), mcp.accept());
        connected.unwrap();
        assert_eq!(accepted.unwrap().1.pid, Some(std::process::id()));
    }
}
