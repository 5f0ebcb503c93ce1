//! Unix: detaching from the launcher's session and descriptors.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::process::{ChildStdout, Command, Output, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

/// Leaves the session and the working folder, and prevents that children inherit the descriptors.
pub(super) fn detach() {
    leave_session();
    let _ = std::env::set_current_dir("/");
    for fd in open_descriptors() {
        #[expect(
            unsafe_code,
            reason = "inherited descriptors have no owner in this process"
        )]
        // SAFETY: only a flag of the descriptor is set, and a closed one fails with EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

/// Starts a new session. Fails for the leader of a process group, such as a process started by a shell.
/// So both the intermediate process and its child call it, of which one is not a leader.
pub(super) fn leave_session() {
    let _ = rustix::process::setsid();
}

/// Runs the intermediate process to its end.
pub(super) fn run(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).output()
}

/// Starts the bridge, and returns its stdout.
pub(super) fn spawn(command: &mut Command) -> io::Result<ChildStdout> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let stdout = command.spawn()?.stdout;
    stdout.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Connects stdout to the null device, so that the reader of the pipe sees its end.
pub(super) fn close_stdout() {
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// Returns the open descriptors, except the three standard ones, which the child replaces.
fn open_descriptors() -> Vec<RawFd> {
    let folder = ["/proc/self/fd", "/dev/fd"].map(Path::new);
    let Some(entries) = folder
        .into_iter()
        .find_map(|dir| std::fs::read_dir(dir).ok())
    else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect()
}
