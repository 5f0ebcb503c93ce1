//! Between a host and a server of different eras.
//!
//! Owns: what each side is told in the other's stead. A translation speaks the host's era to the
//! host and the server's era to the server. Does no I/O, keeps no time and never waits: it is
//! told what happened and says what to do.
//! Does not own: finding out which era a server speaks, or how a message gets there (`up`).
//!
//! Invariant: what need not change stays as it was written. Messages are put together from
//! pieces of those that came in, and a message that needs no change is the one that came in.

mod legacy_host;
mod splice;

pub(crate) use legacy_host::LegacyHost;

use crate::up::Failure;
use crate::{Message, RequestId};

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Send this to the server.
    ToServer(Message),
    /// Send this to the host.
    ToHost {
        message: Message,
        /// The host's request that it answers or belongs to.
        request: Option<RequestId>,
    },
    /// Tell the host's end that this request of the host failed, or the notifications did.
    Fail {
        request: Option<RequestId>,
        failure: Failure,
    },
    /// Give up this request at the server: close its stream.
    Abandon(RequestId),
    /// Call `listen` again, after the wait that so many failures ask for.
    ListenLater { failures: u32 },
    /// The server does not speak the era that it was taken to speak.
    WrongEra,
}

impl Action {
    /// The answer to a request of the host.
    fn answer(message: Message) -> Self {
        let request = message.id().cloned();
        Self::ToHost { message, request }
    }
}

#[cfg(test)]
mod tests;
