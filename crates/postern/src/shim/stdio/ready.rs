//! Stdin and stdout without a thread, where the system tells when they are ready.
//!
//! Linux lets a pipe be opened a second time: what is done to that leaves the host's end as it is.
//! A socket can be told with every call not to block.

use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use control::socket::{Reader, Writer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// Stdin, if it is a pipe or a socket.
#[derive(Debug)]
pub(crate) enum Input {
    Pipe(pipe::Receiver),
    Socket(Reader),
}

/// Stdout, the same. Nothing is kept in it.
#[derive(Debug)]
pub(crate) enum Output {
    Pipe(pipe::Sender),
    Socket(Writer),
}

impl Input {
    pub(super) fn open() -> Option<Self> {
        let (end, kind) = end_of(io::stdin().as_fd()).ok()?;
        if kind.is_socket() {
            return Reader::of(end).ok().map(Self::Socket);
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
            // Elsewhere it may block whatever it is told, if the socket does.
            return cfg!(target_os = "linux").then(|| Self::Socket(Writer::of(end)));
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

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
