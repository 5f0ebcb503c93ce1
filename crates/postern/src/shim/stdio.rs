//! The host's end: stdin, stdout, and stderr for whoever looks there.
//!
//! Stdin and stdout may be a pipe, a socket, a file or a terminal, and others hold them too: they
//! may not be made non-blocking. Pipes and sockets can be used without that (`ready`), everything
//! else and every other system has a thread that may block.

use std::fmt::Display;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, Stdin, Stdout};

#[cfg(unix)]
mod ready;

/// Stdin.
#[derive(Debug)]
pub(crate) enum Input {
    #[cfg(unix)]
    Ready(ready::Input),
    Thread(Stdin),
}

/// Stdout.
#[derive(Debug)]
pub(crate) enum Output {
    #[cfg(unix)]
    Ready(ready::Output),
    Thread(Stdout),
}

/// Stdin, taken up as fits what it is.
pub(crate) fn input() -> Input {
    #[cfg(unix)]
    if let Some(input) = ready::Input::open() {
        return Input::Ready(input);
    }
    Input::Thread(tokio::io::stdin())
}

/// Stdout, the same.
pub(crate) fn output() -> Output {
    #[cfg(unix)]
    if let Some(output) = ready::Output::open() {
        return Output::Ready(output);
    }
    Output::Thread(tokio::io::stdout())
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            #[cfg(unix)]
            Self::Ready(input) => Pin::new(input).poll_read(cx, buffer),
            Self::Thread(input) => Pin::new(input).poll_read(cx, buffer),
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
            #[cfg(unix)]
            Self::Ready(output) => Pin::new(output).poll_write(cx, bytes),
            Self::Thread(output) => Pin::new(output).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            #[cfg(unix)]
            Self::Ready(output) => Pin::new(output).poll_flush(cx),
            Self::Thread(output) => Pin::new(output).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Says on stderr what is wrong, as programs do.
pub fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "postern: {text}");
}

/// Whether the other end of stdout is closed, as it is once the host has died.
#[cfg(unix)]
pub(crate) fn nobody_reads() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(gone)
}

/// A write tells.
#[cfg(windows)]
pub(crate) fn nobody_reads() -> bool {
    false
}
