//! Whose process is at the other end of a TCP connection on loopback.
//!
//! Sockets in the file system and pipes tell by themselves ([`crate::socket`]); TCP has no
//! credentials, but the system knows who opened a connection.
//!
//! Does not own: what is done with a stranger.

use std::net::SocketAddr;

#[cfg(target_os = "linux")]
#[path = "peer/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "peer/unknown.rs"]
mod system;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process of the user that this one runs as.
    Us,
    /// Somebody else's, or nobody's any more: a connection may be over before it is looked at.
    Stranger,
    /// The system does not tell.
    Unknown,
}

/// Who opened the connection from `peer` to `here`, both as this end of it sees them.
///
/// On Linux one question to the kernel, of some 20 µs; it is asked once for each connection.
/// Elsewhere [`Owner::Unknown`] so far.
#[must_use]
pub fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    system::owner(peer, here)
}
