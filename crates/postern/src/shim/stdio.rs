//! The host's end: stdin, stdout, and stderr for whoever looks there.

use std::fmt::Display;
use std::io::Write;

use tokio::io::{Stdin, Stdout};

/// Stdin, read by a thread: it may be a pipe, a socket, a file or a terminal, and none of them
/// may be made non-blocking, because others hold them too.
pub(crate) fn input() -> Stdin {
    tokio::io::stdin()
}

/// Stdout, the same.
pub(crate) fn output() -> Stdout {
    tokio::io::stdout()
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
