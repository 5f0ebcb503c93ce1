//! Named pipes that only their user can open.
//!
//! A pipe cannot be half-closed. The pipes `mcp` and `control` are of the message type and are read as
//! bytes: an empty message ends one direction, and the other one stays open. The pipe `http` is of the
//! byte type, because its clients are not part of Postern.

mod system;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::windows::named_pipe::{
    ClientOptions, NamedPipeClient, NamedPipeServer, PipeMode, ServerOptions,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE, ERROR_NO_DATA, ERROR_PIPE_BUSY,
};

use super::{AcceptBackoff, BindError, Peer, SocketKind, lock, url};
use crate::Home;

pub(crate) use system::{user, user_of};

/// How long a bridge may take to create the next instance of its pipe.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval between attempts to open a busy pipe.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The maximum length of a message on a pipe, in bytes. Longer writes are split.
const MAX_MESSAGE: usize = 64 * 1024;

/// The reading end of a connection.
pub type Reader = ReadHalf<Stream>;

/// The writing end of a connection.
pub type Writer = WriteHalf<Stream>;

/// Splits a connection into its ends. It stays open until both are dropped.
///
/// # Errors
/// None on Windows.
pub fn split(stream: Stream) -> io::Result<(Reader, Writer)> {
    Ok(tokio::io::split(stream))
}

/// Connects to a bridge.
///
/// # Errors
/// The system's. `NotFound` means that no bridge runs, and `PermissionDenied` that the pipe belongs to
/// another user.
pub async fn connect(home: &Home, kind: SocketKind) -> io::Result<Stream> {
    let user = system::user()?;
    let opening = open(pipe_name(home, kind, &user));
    let pipe = tokio::time::timeout(BUSY_TIMEOUT, opening)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    if system::owner(&pipe)? != user {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(Stream::new(Pipe::Client(pipe)))
}

/// Returns the ID of the process that created the pipe at the other end. Returns `None` if the system
/// does not tell.
#[must_use]
pub fn server_process(stream: &Stream) -> Option<u32> {
    match &stream.pipe {
        Pipe::Client(pipe) => system::server_process(pipe).ok(),
        Pipe::Server(_) => None,
    }
}

async fn open(name: String) -> io::Result<NamedPipeClient> {
    loop {
        match ClientOptions::new().open(&name) {
            Err(error) if is(&error, ERROR_PIPE_BUSY) => tokio::time::sleep(POLL_INTERVAL).await,
            opened => return opened,
        }
    }
}

/// A listening pipe: the instance that waits for the next client, and the settings of further ones. The
/// pipes of a bridge share its lock.
#[derive(Debug)]
pub struct Listener {
    name: String,
    kind: SocketKind,
    user: String,
    next: NamedPipeServer,
    lock: Arc<File>,
}

impl Listener {
    /// Opens the pipes `Mcp` and `Control`, in this order.
    ///
    /// # Errors
    /// [`BindError::InUse`] while another bridge runs.
    pub fn bind(home: &Home) -> Result<(Self, Self), BindError> {
        let dir = home.run_dir();
        let io_error = |reason| BindError::Io {
            path: dir.to_owned(),
            reason,
        };
        std::fs::create_dir_all(dir).map_err(io_error)?;
        let lock = Arc::new(lock(dir).map_err(io_error)?.ok_or(BindError::InUse)?);
        let user = system::user().map_err(io_error)?;
        let open = |kind| Self::open(home, kind, &user, Arc::clone(&lock));
        Ok((open(SocketKind::Mcp)?, open(SocketKind::Control)?))
    }

    /// Opens another pipe of the same bridge.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn beside(&self, home: &Home, kind: SocketKind) -> Result<Self, BindError> {
        Self::open(home, kind, &self.user, Arc::clone(&self.lock))
    }

    /// Returns its URL, `pipe:` and the percent-encoded name, to which a host adds `#` and the request
    /// path.
    #[must_use]
    pub fn url(&self) -> String {
        url("pipe:", &self.name)
    }

    fn open(home: &Home, kind: SocketKind, user: &str, lock: Arc<File>) -> Result<Self, BindError> {
        let name = pipe_name(home, kind, user);
        match instance(&name, kind, user, true) {
            Ok(next) => Ok(Self {
                name,
                kind,
                user: user.to_owned(),
                next,
                lock,
            }),
            Err(error) if is(&error, ERROR_ACCESS_DENIED) => Err(name_conflict(&name, user)),
            Err(reason) => Err(BindError::Io {
                path: home.run_dir().to_owned(),
                reason,
            }),
        }
    }

    /// Accepts the next connection of this user. The pipe's access list excludes other users. Retries
    /// if a client has already disconnected, or if the system lacks handles.
    ///
    /// # Errors
    /// The system's, if the pipe cannot accept connections any more.
    pub async fn accept(&mut self) -> io::Result<(Stream, Peer)> {
        let mut backoff = AcceptBackoff::default();
        loop {
            let pipe = match self.connected().await {
                Ok(pipe) => pipe,
                Err(error) if is(&error, ERROR_NO_DATA) => {
                    self.next.disconnect()?;
                    continue;
                }
                Err(error) if is(&error, ERROR_INVALID_HANDLE) => return Err(error),
                Err(error) => {
                    backoff.rest(&error).await;
                    continue;
                }
            };
            let pid = system::client_process(&pipe).ok();
            // A process that may not be queried, such as an elevated one, passed the access list.
            let user = pid.and_then(|pid| system::user_of(pid).ok());
            match user.filter(|user| *user != self.user) {
                None => return Ok((Stream::new(Pipe::Server(pipe)), Peer { pid })),
                Some(user) => tracing::warn!(user, "rejected a connection of another user"),
            }
        }
    }

    /// Waits for a client and returns its instance. Until the next instance is created, this one stays
    /// in place.
    async fn connected(&mut self) -> io::Result<NamedPipeServer> {
        self.next.connect().await?;
        let next = instance(&self.name, self.kind, &self.user, false)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Returns the name of a pipe. It contains the user, and a hash of the folder given with `--home`.
fn pipe_name(home: &Home, kind: SocketKind, user: &str) -> String {
    let kind = match kind {
        SocketKind::Mcp => "mcp",
        SocketKind::Control => "control",
        SocketKind::Http => "http",
    };
    match home.root() {
        None => format!(r"\\.\pipe\postern-{user}-{kind}"),
        Some(_) => format!(
            r"\\.\pipe\postern-{user}-{:016x}-{kind}",
            hash(home.run_dir())
        ),
    }
}

/// Hashes the path with FNV-1a, ignoring case. The result is the same in every release.
fn hash(path: &Path) -> u64 {
    let path = path.to_string_lossy().to_lowercase();
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn instance(name: &str, kind: SocketKind, user: &str, first: bool) -> io::Result<NamedPipeServer> {
    let mode = match kind {
        SocketKind::Mcp | SocketKind::Control => PipeMode::Message,
        SocketKind::Http => PipeMode::Byte,
    };
    let mut options = ServerOptions::new();
    options
        .pipe_mode(mode)
        .reject_remote_clients(true)
        .first_pipe_instance(first);
    system::create(&options, name, user)
}

/// Returns the error for an existing pipe: it belongs to a bridge of this user, or to another user.
fn name_conflict(name: &str, user: &str) -> BindError {
    let foreign = match ClientOptions::new().open(name) {
        Ok(pipe) => !system::owner(&pipe).is_ok_and(|owner| owner == user),
        Err(error) => is(&error, ERROR_ACCESS_DENIED),
    };
    if foreign {
        BindError::OtherUser(PathBuf::from(name))
    } else {
        BindError::InUse
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().and_then(|raw| u32::try_from(raw).ok()) == Some(code)
}

/// A connection to the bridge, or from a client.
#[derive(Debug)]
pub struct Stream {
    pipe: Pipe,
    /// Whether the other side has ended its direction.
    read_closed: bool,
    /// Whether this side has ended its direction.
    write_closed: bool,
}

#[derive(Debug)]
enum Pipe {
    Client(NamedPipeClient),
    Server(NamedPipeServer),
}

impl Stream {
    fn new(pipe: Pipe) -> Self {
        Self {
            pipe,
            read_closed: false,
            write_closed: false,
        }
    }
}

impl Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Client(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Self::Server(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }

    /// Ready once the system has accepted the previous write.
    fn poll_write(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Client(pipe) => Pin::new(pipe).poll_write(cx, message),
            Self::Server(pipe) => Pin::new(pipe).poll_write(cx, message),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_closed || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(self.pipe.poll_read(cx, buf))?;
        self.read_closed = buf.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.pipe.poll_write(cx, &buf[..buf.len().min(MAX_MESSAGE)])
    }

    /// Does nothing, because writes are not buffered.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(self.pipe.poll_write(cx, &[]))?;
            self.write_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{BindError, Listener, SocketKind, connect, pipe_name};
    use crate::Home;

    #[test]
    fn pipe_name_contains_user_and_folder() {
        let name = |home: &Home| pipe_name(home, SocketKind::Mcp, "S-1");
        let usual = Home::of_user().unwrap();
        assert_eq!(name(&usual), r"\\.\pipe\postern-S-1-mcp");
        let under = |root| name(&Home::under(Path::new(root)).unwrap());
        assert_eq!(under(r"C:\x"), r"\\.\pipe\postern-S-1-13642dfc85901f75-mcp");
        assert_eq!(under("c:/X"), under(r"C:\x"));
        assert_ne!(under(r"C:\y"), under(r"C:\x"));
    }

    #[tokio::test]
    async fn second_bridge_is_rejected_while_first_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let missing = connect(&home, SocketKind::Mcp).await.unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
        let first = Listener::bind(&home).unwrap();
        let second = Listener::bind(&home);
        assert!(matches!(second, Err(BindError::InUse)), "{second:?}");
        drop(first);
        let (mut mcp, _control) = Listener::bind(&home).unwrap();
        for _ in 0..3 {
            let (connected, accepted) = tokio::join!(connect(&home, SocketKind::Mcp), mcp.accept());
            connected.unwrap();
            assert_eq!(accepted.unwrap().1.pid, Some(std::process::id()));
        }
    }

    #[tokio::test]
    async fn http_pipe_accepts_bytes_of_any_client_of_this_user() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let (mcp, _control) = Listener::bind(&home).unwrap();
        let mut http = mcp.beside(&home, SocketKind::Http).unwrap();
        let name = http.name.clone();
        let client = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut options = std::fs::OpenOptions::new();
            let mut pipe = options.read(true).write(true).open(name).unwrap();
            pipe.write_all(b"GET ").unwrap();
            pipe.write_all(b"/").unwrap();
            let mut answer = [0; 3];
            pipe.read_exact(&mut answer).unwrap();
            answer
        });
        let (mut stream, peer) = http.accept().await.unwrap();
        assert_eq!(peer.pid, Some(std::process::id()));
        let mut asked = [0; 5];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"GET /");
        stream.write_all(b"200").await.unwrap();
        assert_eq!(client.join().unwrap(), *b"200");
    }

    #[tokio::test]
    async fn concurrent_connections_are_accepted() {
        const MANY: usize = 20;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let (mut mcp, _control) = Listener::bind(&home).unwrap();
        let connecting: Vec<_> = (0..MANY)
            .map(|_| {
                let home = home.clone();
                tokio::spawn(async move { connect(&home, SocketKind::Mcp).await })
            })
            .collect();
        let mut accepted = Vec::new();
        for _ in 0..MANY {
            accepted.push(mcp.accept().await.unwrap());
        }
        for connected in connecting {
            connected.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn one_direction_can_be_closed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let (mut mcp, _control) = Listener::bind(&home).unwrap();
        let (near, far) = tokio::join!(connect(&home, SocketKind::Mcp), mcp.accept());
        let (mut near, mut far) = (near.unwrap(), far.unwrap().0);

        let sent = vec![b'x'; 5 * super::MAX_MESSAGE + 1];
        let mut received = Vec::new();
        let sending = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
        };
        tokio::join!(sending, async {
            far.read_to_end(&mut received).await.unwrap()
        });
        assert!(received == sent, "{} of {}", received.len(), sent.len());
        assert!(near.write_all(b"more").await.is_err());

        far.write_all(b"answer").await.unwrap();
        far.shutdown().await.unwrap();
        drop(far);
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }
}
