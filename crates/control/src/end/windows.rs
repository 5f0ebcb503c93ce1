//! Windows: process handles. A process without a console or a window cannot be asked to end.

#![expect(
    unsafe_code,
    reason = "the standard library can end only child processes"
)]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_TERMINATE, TerminateProcess};

/// Ends the process.
pub(super) fn terminate(pid: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    let process = unsafe { OpenProcess(PROCESS_TERMINATE, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle that has no other owner.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    // SAFETY: the handle is open, and no pointers.
    match unsafe { TerminateProcess(process.as_raw_handle(), 1) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Does nothing, because [`terminate`] is already forced.
pub(super) fn kill(_pid: u32) -> io::Result<()> {
    Ok(())
}
