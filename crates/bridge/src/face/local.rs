//! HTTP over the socket that only this user can open (a named pipe on Windows), for hosts that take
//! its URL.

use std::future::pending;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use control::peer::Owner;
use control::socket::{self, Listener, Stream};

use super::door::{Opener, Peer};

/// The listening socket.
pub(super) struct Local(pub(super) Listener);

impl axum::serve::Listener for Local {
    type Io = Stream;
    type Addr = socket::Peer;

    async fn accept(&mut self) -> (Stream, socket::Peer) {
        match self.0.accept().await {
            Ok(accepted) => accepted,
            Err(reason) => {
                // The other faces go on.
                tracing::error!(%reason, "the socket for HTTP broke");
                pending().await
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<socket::Peer> {
        let pid = Some(std::process::id());
        Ok(socket::Peer { pid })
    }
}

/// The socket has turned everybody else away.
impl Connected<IncomingStream<'_, Local>> for Peer {
    fn connect_info(connection: IncomingStream<'_, Local>) -> Self {
        Self {
            owner: Owner::Us,
            opener: Opener::Process(connection.remote_addr().pid),
        }
    }
}
