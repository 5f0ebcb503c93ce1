//! Stdin and stdout without a thread, where the system tells when they are ready.
//!
//! Linux lets a pipe be opened a second time: what is done to that leaves the host's end as it is.
//! A socket can be told with every call not to block.

use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::unix::pipe;

/// Stdin, if it is a pipe or a socket.
#[derive(Debug)]
pub(crate) enum Input {
    Pipe(pipe::Receiver),
    Socket(AsyncFd<OwnedFd>),
}

/// Stdout, the same.
#[derive(Debug)]
pub(crate) enum Output {
    Pipe(pipe::Sender),
    Socket(AsyncFd<OwnedFd>),
}

impl Input {
    pub(super) fn open() -> Option<Self> {
        let (end, kind) = end_of(io::stdin().as_fd()).ok()?;
        if kind.is_socket() {
            return watched(end, Interest::READABLE).map(Self::Socket);
        }
        let path = again(&kind, 0)?;
        let pipe = pipe::OpenOptions::new().open_receiver(path).ok()?;
        Some(Self::Pipe(pipe))
    }
}

impl Output {
    pub(super) fn open() -> Option<Self> {
        let (end, kind) = end_of(io::stdout().as_fd()).ok()?;
        if kind.is_socket() {
            return watched(end, Interest::WRITABLE).map(Self::Socket);
        }
        let path = again(&kind, 1)?;
        let pipe = pipe::OpenOptions::new().open_sender(path).ok()?;
        Some(Self::Pipe(pipe))
    }
}

/// The same end by a descriptor of its own, and what it is.
fn end_of(descriptor: BorrowedFd<'_>) -> io::Result<(OwnedFd, FileType)> {
    let end = File::from(descriptor.try_clone_to_owned()?);
    let kind = end.metadata()?.file_type();
    Ok((end.into(), kind))
}

/// Where a pipe can be opened again. Elsewhere than on Linux that would be the very same end.
fn again(kind: &FileType, descriptor: u8) -> Option<String> {
    let can_be = cfg!(target_os = "linux") && kind.is_fifo();
    can_be.then(|| format!("/proc/self/fd/{descriptor}"))
}

fn watched(socket: OwnedFd, interest: Interest) -> Option<AsyncFd<OwnedFd>> {
    #[expect(
        unsafe_code,
        reason = "whatever is registered has to say what its descriptor is"
    )]
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it exists.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    registered.ok()
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = match self.get_mut() {
            Self::Pipe(pipe) => return Pin::new(pipe).poll_read(cx, buffer),
            Self::Socket(socket) => socket,
        };
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let size = room.len();
            match recv(socket.as_fd(), room, RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    // Less than there was room for was all there is.
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

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = match self.get_mut() {
            Self::Pipe(pipe) => return Pin::new(pipe).poll_write(cx, bytes),
            Self::Socket(socket) => socket,
        };
        loop {
            let mut ready = ready!(socket.poll_write_ready(cx))?;
            match send(socket.as_fd(), bytes, SendFlags::DONTWAIT) {
                Ok(sent) => {
                    // More has no room now.
                    if sent < bytes.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Nothing is kept here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
