//! The two ends of a stream socket, each registered only for the events that it waits for.
//!
//! A Unix socket becomes writable each time the other end reads. A task that is registered for that,
//! as with Tokio's own type, wakes up needlessly for each message. So the writer first tries to write,
//! and registers only while the socket is full.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketType, recv, send, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The reading end.
#[derive(Debug)]
pub struct Reader(AsyncFd<Arc<OwnedFd>>);

/// The writing end. It has no buffer.
#[derive(Debug)]
pub struct Writer {
    socket: Arc<OwnedFd>,
    /// The registration while the socket is full.
    full: Option<AsyncFd<OwnedFd>>,
}

/// Splits a connection into its ends. It stays open until both are dropped.
///
/// # Errors
/// The system's, if it lacks descriptors.
///
/// # Panics
/// Outside a Tokio runtime.
pub fn split(stream: super::Stream) -> io::Result<(Reader, Writer)> {
    let socket = Arc::new(OwnedFd::from(stream.into_std()?));
    let writer = Writer {
        socket: Arc::clone(&socket),
        full: None,
    };
    Ok((Reader(registered(socket, Interest::READABLE)?), writer))
}

impl Reader {
    /// Creates the reading end of an inherited socket, which may be blocking.
    ///
    /// # Errors
    /// The system's, and `InvalidInput` if it is not a stream socket.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        if socket_type(&socket)? != SocketType::STREAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self(registered(Arc::new(socket), Interest::READABLE)?))
    }
}

impl Writer {
    /// Creates the writing end of an inherited socket, which may be blocking.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self {
            socket: Arc::new(socket),
            full: None,
        }
    }

    /// Waits until the socket may be writable.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let full = match &self.full {
            Some(full) => full,
            None => {
                let again = self.socket.try_clone()?;
                self.full.insert(registered(again, Interest::WRITABLE)?)
            }
        };
        ready!(full.poll_write_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

fn registered<T: AsFd + AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        unsafe_code,
        reason = "the caller must guarantee that the descriptor stays open"
    )]
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it exists, and neither it
    // nor what is behind an `Arc` is ever replaced here.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(registered?)
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match recv(self.0.as_fd(), room, RecvFlags::DONTWAIT) {
                Ok((_, read)) => {
                    // A partial read means that no more data is available.
                    if (1..size).contains(&read) {
                        ready.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let writer = self.get_mut();
        loop {
            match send(&writer.socket, bytes, SendFlags::DONTWAIT) {
                Ok(sent) => {
                    writer.full = None;
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => ready!(writer.poll_writable(cx))?,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.socket, Shutdown::Write).map_err(Into::into))
    }
}
