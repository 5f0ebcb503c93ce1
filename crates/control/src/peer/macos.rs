//! macOS: the kernel lists all TCP connections, with the user at each end, to whoever asks.

#![expect(
    unsafe_code,
    reason = "the kernel's list is behind a C interface alone"
)]

use std::io;
use std::net::SocketAddr;
use std::ptr::null_mut;

use super::{Owner, pcblist};

/// The list that `netstat` reads too.
const LIST: &std::ffi::CStr = c"net.inet.tcp.pcblist_n";

/// How often a list that grew meanwhile is asked for again.
const MAX_ATTEMPTS: usize = 8;

pub(super) fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    let list = match list() {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(%error, "the kernel does not say who opened a connection");
            return Owner::Unknown;
        }
    };
    match pcblist::user(&list, peer, here) {
        Some(user) if user == rustix::process::getuid().as_raw() => Owner::SameUser,
        Some(_) => Owner::OtherUser,
        // A list that has our end of the connection would have theirs.
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
        // It may have grown by then.
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

/// Fills the room in, or says how much is needed where there is none; so many bytes.
fn read_list(buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = buffer.len();
    let start = match buffer {
        [] => null_mut(),
        buffer => buffer.as_mut_ptr(),
    };
    // SAFETY: what is written to is null or has `length` bytes, and the name ends with a zero.
    let failed =
        unsafe { libc::sysctlbyname(LIST.as_ptr(), start.cast(), &raw mut length, null_mut(), 0) };
    match failed {
        0 => Ok(length),
        _ => Err(io::Error::last_os_error()),
    }
}
