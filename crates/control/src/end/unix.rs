//! Unix: signals. A stopped process does not handle `SIGTERM`, but `SIGKILL` ends it.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Sends `SIGTERM`.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    send(pid, Signal::TERM)
}

/// Sends `SIGKILL`.
pub(super) fn kill(pid: u32) -> io::Result<()> {
    send(pid, Signal::KILL)
}

fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    match kill_process(pid, signal) {
        // It has already ended.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
