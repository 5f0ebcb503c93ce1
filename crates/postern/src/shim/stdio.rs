//! The host's end: stdin, stdout, and stderr for whoever looks there.
//!
//! Stdin and stdout may be a pipe, a socket, a file or a terminal, and others hold them too: they
//! may not be made non-blocking. Pipes and sockets can be used without that (`ready`), everything
//! else and every other system has a thread that may block.

#[cfg(unix)]
mod ready;

use std::fmt::Display;
use std::io::Write;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) type Input = Box<dyn AsyncRead + Unpin>;
pub(crate) type Output = Box<dyn AsyncWrite + Unpin>;

/// Stdin, taken up as fits what it is.
pub(crate) fn input() -> Input {
    #[cfg(unix)]
    if let Some(input) = ready::input() {
        return input;
    }
    Box::new(tokio::io::stdin())
}

/// Stdout, the same.
pub(crate) fn output() -> Output {
    #[cfg(unix)]
    if let Some(output) = ready::output() {
        return output;
    }
    Box::new(tokio::io::stdout())
}

/// Says on stderr what is wrong, as programs do.
pub fn print_error(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "postern: {text}");
}

/// Whether the other end of stdout is closed, as it is once the host has died.
#[cfg(unix)]
pub(crate) fn stdout_is_closed() -> bool {
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
pub(crate) fn stdout_is_closed() -> bool {
    false
}
