//! Linux: `sock_diag(7)` looks up a connection by its two ends.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::Owner;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST_FLAG: u16 = 1;
const IPPROTO_TCP: u8 = 6;

/// The lengths of `nlmsghdr` and of `inet_diag_req_v2`.
const HEADER: usize = 16;
const REQUEST_LENGTH: usize = 56;

/// The offsets of `idiag_uid` and `idiag_inode` in a response.
const UID: usize = HEADER + 64;
const INODE: usize = HEADER + 68;

pub(super) fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    match field(UID, peer, here) {
        Ok(Some(uid)) if uid == rustix::process::getuid().as_raw() => Owner::SameUser,
        Ok(_) => Owner::OtherUser,
        Err(error) => {
            tracing::debug!(%error, "the kernel does not tell the owner of a connection");
            Owner::Unknown
        }
    }
}

/// Returns the inode of the socket with the local end `peer`. Returns `None` if no process has it.
pub(super) fn inode(peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    field(INODE, peer, here)
        .ok()
        .flatten()
        .filter(|inode| *inode != 0)
}

/// Returns a field of the kernel's response for the socket with the local end `peer` and the remote end
/// `here`. Returns `None` if there is no such socket.
fn field(at: usize, peer: SocketAddr, here: SocketAddr) -> io::Result<Option<u32>> {
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&netlink, &request(peer, here), SendFlags::empty())?;
    let mut response = [0; 512];
    let (length, _) = recv(&netlink, &mut response, RecvFlags::empty())?;
    let response = &response[..length];
    match response
        .get(4..6)
        .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]))
    {
        Some(BY_FAMILY) => Ok(number(response, at)),
        // `NLMSG_ERROR`, most often ENOENT.
        Some(2) => match number(response, HEADER).map(u32::cast_signed) {
            Some(error) if error == -rustix::io::Errno::NOENT.raw_os_error() => Ok(None),
            Some(error) => Err(io::Error::from_raw_os_error(-error)),
            None => Err(io::ErrorKind::InvalidData.into()),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

/// Builds a `nlmsghdr` followed by an `inet_diag_req_v2`.
fn request(peer: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let family = match peer.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let mut message = Vec::with_capacity(HEADER + REQUEST_LENGTH);
    message.extend_from_slice(&u32::to_ne_bytes((HEADER + REQUEST_LENGTH) as u32));
    message.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&REQUEST_FLAG.to_ne_bytes());
    // Sequence number and port ID: unused, because there is one request and one response.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[family.as_raw() as u8, IPPROTO_TCP, 0, 0]);
    // Connections in any state.
    message.extend_from_slice(&u32::MAX.to_ne_bytes());
    message.extend_from_slice(&peer.port().to_be_bytes());
    message.extend_from_slice(&here.port().to_be_bytes());
    message.extend_from_slice(&address(peer.ip()));
    message.extend_from_slice(&address(here.ip()));
    // On any interface, with any cookie (`INET_DIAG_NOCOOKIE`).
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&[0xff; 8]);
    message
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::super::{Owner, owner};

    #[test]
    fn missing_connection_is_not_of_same_user() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).unwrap();
            let here = listener.local_addr().unwrap();
            let closed = SocketAddr::new(here.ip(), 1);
            assert_eq!(owner(closed, here), Owner::OtherUser);
        }
    }
}
