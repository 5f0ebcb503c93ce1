//! Whose process is at the other end of a TCP connection on loopback.
//!
//! Sockets in the file system and pipes tell by themselves ([`crate::socket`]); TCP has no
//! credentials, but the system knows who opened a connection.
//!
//! Does not own: what is done with a stranger.

#[cfg(any(target_os = "macos", test))]
mod pcblist;
mod process;
#[cfg(target_os = "linux")]
#[path = "peer/linux.rs"]
mod system;
#[cfg(windows)]
#[path = "peer/windows.rs"]
mod system;
#[cfg(target_os = "macos")]
#[path = "peer/macos.rs"]
mod system;
#[cfg(not(any(target_os = "linux", windows, target_os = "macos")))]
#[path = "peer/unknown.rs"]
mod system;
#[cfg(any(windows, test))]
mod tcp_table;

use std::net::SocketAddr;

pub use process::{Process, process_ids};

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process of the user that this one runs as.
    SameUser,
    /// Somebody else's, or nobody's any more: a connection may be over before it is looked at.
    OtherUser,
    /// The system does not tell.
    Unknown,
}

/// Who opened the connection from `peer` to `here`, both as this end of it sees them.
///
/// It is asked once for each connection. On Linux that is one question to the kernel, of some
/// 20 µs; Windows and macOS hand out their table of all connections. Other systems are not asked.
#[must_use]
pub fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    system::owner(plain(peer), plain(here))
}

/// An IPv4 address that an IPv6 socket wrote down is an IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(all(test, any(target_os = "linux", target_os = "macos")))]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::{Owner, owner};

    #[test]
    fn a_connection_has_the_user_that_opened_it() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).unwrap();
            let here = listener.local_addr().unwrap();
            let client = TcpStream::connect(here).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();
            assert_eq!(owner(peer, here), Owner::SameUser);
            let closed = SocketAddr::new(peer.ip(), 1);
            assert_ne!(owner(closed, here), Owner::SameUser);
            drop(client);
        }
    }
}
