//! Systems without support for finding the owner.

use std::net::SocketAddr;

use super::Owner;

pub(super) fn owner(_peer: SocketAddr, _here: SocketAddr) -> Owner {
    Owner::Unknown
}
