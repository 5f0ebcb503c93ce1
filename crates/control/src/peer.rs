//! The user and the process at the other end of a TCP connection on loopback.
//!
//! Unix sockets and pipes have peer credentials ([`crate::socket`]). TCP does not, but the system knows
//! the owner of a connection.
//!
//! Owns: looking up the owner. Does not own: rejecting other users.

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

/// The owner of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process of this process's user.
    SameUser,
    /// A process of another user, or no process, because the connection has already ended.
    OtherUser,
    /// The system does not tell.
    Unknown,
}

/// Returns the owner of the connection from `peer` to `here`, as seen from this end.
///
/// Called once per connection. On Linux, this is one kernel request of about 20 µs. On Windows and
/// macOS, it reads the table of all connections. On other systems, the owner is unknown.
#[must_use]
pub fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    system::owner(plain(peer), plain(here))
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(all(test, any(target_os = "linux", target_os = "macos")))]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::{Owner, owner};

    #[test]
    fn connection_is_owned_by_user_that_opened_it() {
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
