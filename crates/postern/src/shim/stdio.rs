//! Stdin and stdout for messages of the host, and stderr for errors.
//!
//! Stdin and stdout may be a pipe, a socket, a file or a terminal. Other processes may share them, so
//! they must not become non-blocking. Pipes and sockets can be used without that (`ready`). For other
//! kinds and on other systems, a thread does blocking reads and writes.

#[cfg(unix)]
mod ready;

use std::fmt::Display;
use std::io::Write;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) type Input = Box<dyn AsyncRead + Unpin>;
pub(crate) type Output = Box<dyn AsyncWrite + Unpin>;

/// Opens stdin in the way that suits its kind.
pub(crate) fn input() -> Input {
    #[cfg(unix)]
    if let Some(input) = ready::input() {
        return input;
    }
    Box::new(tokio::io::stdin())
}

/// Opens stdout in the way that suits its kind.
pub(crate) fn output() -> Output {
    #[cfg(unix)]
    if let Some(output) = ready::output() {
        return output;
    }
    Box::new(tokio::io::stdout())
}

/// Prints an error on stderr, with the program's name in front.
pub fn print_error(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "postern: {text}");
}

/// Returns whether the other end of stdout is closed, as after the host has died.
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

/// Returns false. On Windows, only a write detects a closed stdout.
#[cfg(windows)]
pub(crate) fn stdout_is_closed() -> bool {
    false
}
