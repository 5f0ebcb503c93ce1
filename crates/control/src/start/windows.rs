//! Windows: detaching from the launcher's console, job, handles and container.

mod process;

use std::io::{self, PipeReader, Read};
use std::os::windows::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output};

use process::{Process, Stream};

/// Leaves the working folder. The rest is detached when the bridge is started ([`Process::start`]).
pub(super) fn detach() {
    let program = std::env::current_exe().unwrap_or_default();
    if let Some(folder) = program.parent() {
        let _ = std::env::set_current_dir(folder);
    }
}

/// Nothing to do: see [`detach`].
pub(super) fn leave_session() {}

/// Runs the intermediate process to its end.
pub(super) fn run(command: &mut Command) -> io::Result<Output> {
    let (mut errors, end) = io::pipe()?;
    let process = Process::start(command, Stream::Stderr, end)?;
    let mut stderr = Vec::new();
    errors.read_to_end(&mut stderr)?;
    Ok(Output {
        status: ExitStatus::from_raw(process.wait()?),
        stdout: Vec::new(),
        stderr,
    })
}

/// Starts the bridge, and returns its stdout.
pub(super) fn spawn(command: &mut Command) -> io::Result<PipeReader> {
    let (report, end) = io::pipe()?;
    Process::start(command, Stream::Stdout, end)?;
    Ok(report)
}

/// Does nothing: no more is written to the pipe, and its reader reads only one line.
pub(super) fn close_stdout() {}
