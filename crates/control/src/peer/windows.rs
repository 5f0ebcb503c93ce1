//! Windows: the table of TCP connections names the process at each end.

#![expect(unsafe_code, reason = "the system's tables have only a C interface")]

use std::io;
use std::net::{IpAddr, SocketAddr};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_SUCCESS};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, TCP_TABLE_OWNER_PID_CONNECTIONS,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

use super::Owner;
use super::tcp_table::{self, Holder};
use crate::socket::windows::{user, user_of};

/// The initial size of the buffer in bytes, enough for the table of a quiet machine.
const INITIAL_SIZE: u32 = 16 * 1024;

/// How often the table is read again if it grew meanwhile.
const MAX_ATTEMPTS: usize = 8;

pub(super) fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    let asked = table(peer.ip()).and_then(|table| match tcp_table::holder(&table, peer, here) {
        Some(Holder::Process(pid)) => owner_of(pid),
        Some(Holder::Unnamed) => Ok(Owner::Unknown),
        Some(Holder::Closed) | None => Ok(Owner::OtherUser),
    });
    match asked {
        Ok(owner) => owner,
        Err(error) => {
            tracing::debug!(%error, "the system does not tell the owner of a connection");
            Owner::Unknown
        }
    }
}

/// Returns whether the process is of this user. A process that may not be queried is of another user,
/// or runs elevated. Other users who are logged on, and services, have separate sessions.
fn owner_of(pid: u32) -> io::Result<Owner> {
    let ours = user()?;
    Ok(match user_of(pid) {
        Ok(theirs) if theirs == ours => Owner::SameUser,
        Ok(_) => Owner::OtherUser,
        Err(_) if session(pid)? == session(std::process::id())? => Owner::Unknown,
        Err(_) => Owner::OtherUser,
    })
}

fn session(pid: u32) -> io::Result<u32> {
    let mut session = 0;
    // SAFETY: `session` outlives the call.
    match unsafe { ProcessIdToSessionId(pid, &raw mut session) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(session),
    }
}

/// Reads the table of connections of this address family.
fn table(family: IpAddr) -> io::Result<Vec<u8>> {
    let family = match family {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    };
    let mut size = INITIAL_SIZE;
    for _ in 0..MAX_ATTEMPTS {
        // With the alignment of the table.
        let mut buffer = vec![0_u32; (size as usize).div_ceil(4)];
        // SAFETY: the buffer has at least as many bytes as `size` says.
        let failed = unsafe {
            GetExtendedTcpTable(
                buffer.as_mut_ptr().cast(),
                &raw mut size,
                0,
                u32::from(family),
                TCP_TABLE_OWNER_PID_CONNECTIONS,
                0,
            )
        };
        match failed {
            ERROR_SUCCESS => return Ok(buffer.into_iter().flat_map(u32::to_ne_bytes).collect()),
            // The table may have grown since the last call.
            ERROR_INSUFFICIENT_BUFFER => size += INITIAL_SIZE,
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::{Holder, Owner, owner, owner_of, table, tcp_table};

    #[test]
    fn table_contains_connection_of_this_process() {
        let us = std::process::id();
        assert_eq!(owner_of(us).unwrap(), Owner::SameUser);
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).unwrap();
            let here = listener.local_addr().unwrap();
            let client = TcpStream::connect(here).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            let holder = tcp_table::holder(&table(peer.ip()).unwrap(), peer, here);
            // Wine does not name the process.
            assert!(
                matches!(holder, Some(Holder::Process(_) | Holder::Unnamed)),
                "{holder:?}"
            );
            if let Some(Holder::Process(pid)) = holder {
                assert_eq!(pid, us);
            }
            assert_ne!(owner(peer, here), Owner::OtherUser);
            let closed = SocketAddr::new(peer.ip(), 1);
            assert_eq!(owner(closed, here), Owner::OtherUser);
            drop(client);
        }
    }
}
