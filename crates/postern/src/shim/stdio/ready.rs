//! Stdin and stdout without a thread, where the system tells when they are ready.
//!
//! Linux lets a pipe be opened a second time: what is done to that leaves the host's end as it is.
//! A socket can be told with every call not to block.

use std::fs::{File, FileType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use control::socket::{Reader, Writer};
use tokio::net::unix::pipe::OpenOptions;

use super::{Input, Output};

/// Stdin, if it is a pipe or a socket.
pub(super) fn input() -> Option<Input> {
    let (end, kind) = end_of(io::stdin().as_fd()).ok()?;
    if kind.is_socket() {
        return Some(Box::new(Reader::of(end).ok()?));
    }
    let pipe = OpenOptions::new().open_receiver(again(&kind, 0)?);
    Some(Box::new(pipe.ok()?))
}

/// Stdout, the same. Nothing is kept in it.
pub(super) fn output() -> Option<Output> {
    let (end, kind) = end_of(io::stdout().as_fd()).ok()?;
    if kind.is_socket() {
        // Elsewhere it may block whatever it is told, if the socket does.
        return cfg!(target_os = "linux").then(|| Box::new(Writer::of(end)) as Output);
    }
    let pipe = OpenOptions::new().open_sender(again(&kind, 1)?);
    Some(Box::new(pipe.ok()?))
}

/// The same end by a descriptor of its own, and what it is.
fn end_of(descriptor: BorrowedFd<'_>) -> io::Result<(OwnedFd, FileType)> {
    let end = File::from(descriptor.try_clone_to_owned()?);
    let kind = end.metadata()?.file_type();
    Ok((end.into(), kind))
}

/// Where a pipe can be opened again. Elsewhere than on Linux that would be the very same end.
fn again(kind: &FileType, descriptor: u8) -> Option<String> {
    let can_be = cfg!(target_os = "linux") && kind.is_fifo();
    can_be.then(|| format!("/proc/self/fd/{descriptor}"))
}
