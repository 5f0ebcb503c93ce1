//! HTTP over a socket that only this user can open (a named pipe on Windows), for hosts that
//! support its URL.

use std::future::pending;
use std::io;

use control::peer::Owner;
use control::socket::{Listener, Stream};

use super::access::{Opener, PeerOwner};
use super::serve::Accept;

/// The listening socket.
pub(super) struct SocketListener(pub(super) Listener);

impl Accept for SocketListener {
    type Stream = Stream;

    async fn accept(&mut self) -> io::Result<(Stream, PeerOwner)> {
        match self.0.accept().await {
            // The socket rejects other users.
            Ok((stream, peer)) => {
                let owner = Owner::SameUser;
                let opener = Opener::Process(peer.pid);
                Ok((stream, PeerOwner { owner, opener }))
            }
            Err(reason) => {
                // The other endpoints continue.
                tracing::error!(%reason, "the socket for HTTP broke");
                pending().await
            }
        }
    }
}
