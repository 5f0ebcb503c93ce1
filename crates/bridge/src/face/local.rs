//! HTTP over the socket that only this user can open (a named pipe on Windows), for hosts that take
//! its URL.

use std::future::pending;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use control::peer::Owner;
use control::socket::{Listener, Stream};

use super::door::Peer;

/// The listening socket.
pub(super) struct Local(pub(super) Listener);

impl axum::serve::Listener for Local {
    type Io = Stream;
    type Addr = ();

    async fn accept(&mut self) -> (Stream, ()) {
        match self.0.accept().await {
            Ok((stream, _)) => (stream, ()),
            Err(reason) => {
                // The other faces go on.
                tracing::error!(%reason, "the socket for HTTP broke");
                pending().await
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The socket has turned everybody else away.
impl Connected<IncomingStream<'_, Local>> for Peer {
    fn connect_info(_: IncomingStream<'_, Local>) -> Self {
        Self(Owner::Us)
    }
}
