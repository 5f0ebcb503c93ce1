//! By signals. `SIGTERM` waits for as long as a process is stopped; `SIGKILL` does not.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Asks the process to end.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    send(pid, Signal::TERM)
}

/// Ends it.
pub(super) fn kill(pid: u32) -> io::Result<()> {
    send(pid, Signal::KILL)
}

fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    match kill_process(pid, signal) {
        // It has ended by itself.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
