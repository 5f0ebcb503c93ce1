//! Leaving the launcher's console, job, handles and container behind.

mod process;

use std::io::{self, PipeReader, Read};
use std::os::windows::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output};

use process::{Process, Stream};

/// What is left behind is left by the way a process is started, the folder apart.
pub(super) fn detach() {
    let program = std::env::current_exe().unwrap_or_default();
    if let Some(folder) = program.parent() {
        let _ = std::env::set_current_dir(folder);
    }
}

/// Nothing to do: see [`detach`].
pub(super) fn leave_session() {}

/// Runs the process in the middle to its end.
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

/// Starts the bridge; what it says on stdout can be read.
pub(super) fn spawn(command: &mut Command) -> io::Result<PipeReader> {
    let (report, end) = io::pipe()?;
    Process::start(command, Stream::Stdout, end)?;
    Ok(report)
}

/// Nothing more is written to the pipe, and its reader reads one line.
pub(super) fn close_stdout() {}
