//! Stdin and stdout without a thread, if the system can report when they are ready.
//!
//! Linux can open a pipe a second time, and flags of the second end do not affect the first. On a
//! socket, each call can be made non-blocking.

use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use control::socket::{Reader, Writer};
use tokio::net::unix::pipe::OpenOptions;

use super::{Input, Output};

/// Opens stdin if it is a pipe or a socket. Returns `None` otherwise.
pub(super) fn input() -> Option<Input> {
    let (end, kind) = end_of(io::stdin().as_fd()).ok()?;
    if kind.is_socket() {
        return Some(Box::new(Reader::from_fd(end).ok()?));
    }
    let pipe = OpenOptions::new().open_receiver(again(&kind, 0)?);
    Some(Box::new(pipe.ok()?))
}

/// Opens stdout if it is a pipe or a socket. Returns `None` otherwise. Writes are not buffered.
pub(super) fn output() -> Option<Output> {
    let (end, kind) = end_of(io::stdout().as_fd()).ok()?;
    if kind.is_socket() {
        // On other systems, a call on a blocking socket may block in spite of its flags.
        return cfg!(target_os = "linux").then(|| Box::new(Writer::from_fd(end)) as Output);
    }
    let pipe = OpenOptions::new().open_sender(again(&kind, 1)?);
    Some(Box::new(pipe.ok()?))
}

/// Returns a duplicate of the descriptor, and the kind of its file.
fn end_of(descriptor: BorrowedFd<'_>) -> io::Result<(OwnedFd, FileType)> {
    let end = File::from(descriptor.try_clone_to_owned()?);
    let kind = end.metadata()?.file_type();
    Ok((end.into(), kind))
}

/// Returns the path under which a pipe can be opened again. Returns `None` for other kinds, and on
/// other systems than Linux, where the second end would share its flags with the first.
fn again(kind: &FileType, descriptor: u8) -> Option<String> {
    let can_be = cfg!(target_os = "linux") && kind.is_fifo();
    can_be.then(|| format!("/proc/self/fd/{descriptor}"))
}
