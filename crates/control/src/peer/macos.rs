//! macOS: the kernel's list of all TCP connections, with the user at each end.

#![expect(unsafe_code, reason = "the kernel's list has only a C interface")]

use std::io;
use std::net::SocketAddr;
use std::ptr::null_mut;

use super::{Owner, pcblist};

/// The list that `netstat` also reads.
const LIST: &std::ffi::CStr = c"net.inet.tcp.pcblist_n";

/// How often the list is read again if it grew meanwhile.
const MAX_ATTEMPTS: usize = 8;

pub(super) fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    let list = match list() {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(%error, "the kernel does not tell the owner of a connection");
            return Owner::Unknown;
        }
    };
    match pcblist::user(&list, peer, here) {
        Some(user) if user == rustix::process::getuid().as_raw() => Owner::SameUser,
        Some(_) => Owner::OtherUser,
        // The list contains this end of the connection, so the other end is closed.
        None if pcblist::user(&list, here, peer).is_some() => Owner::OtherUser,
        None => {
            tracing::debug!("the kernel's list of connections cannot be read");
            Owner::Unknown
        }
    }
}

fn list() -> io::Result<Vec<u8>> {
    for _ in 0..MAX_ATTEMPTS {
        let length = read_list(&mut [])?;
        // The list may grow until the next call.
        let mut list = vec![0; length + length / 4];
        match read_list(&mut list) {
            Ok(length) => {
                list.truncate(length);
                return Ok(list);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

/// Reads the list into the buffer and returns its length. With an empty buffer, returns the required
/// length.
fn read_list(buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = buffer.len();
    let start = match buffer {
        [] => null_mut(),
        buffer => buffer.as_mut_ptr(),
    };
    // SAFETY: the destination is null or has `length` bytes, and the name ends with a zero.
    let failed =
        unsafe { libc::sysctlbyname(LIST.as_ptr(), start.cast(), &raw mut length, null_mut(), 0) };
    match failed {
        0 => Ok(length),
        _ => Err(io::Error::last_os_error()),
    }
}
