//! Between a host and a server of different eras.
//!
//! Owns: what each side is told in the other's stead. A translation speaks the host's era to the
//! host and the server's era to the server. Does no I/O, keeps no time and never waits: it is
//! told what happened and says what to do.
//! Does not own: finding out which era a server speaks, or how a message gets there (`upstream`).
//!
//! Invariant: what need not change stays as it was written. Messages are put together from
//! pieces of those that came in, and a message that needs no change is the one that came in.

mod input_request;
mod legacy_host;
mod modern_host;

pub(crate) use legacy_host::LegacyHost;
pub(crate) use modern_host::{ModernHost, StateNumber};

use crate::error::UpstreamError;
use crate::mrtr::ID_PREFIX;
use crate::{Era, Message, RequestId};

/// The levels of a log, the most talkative first.
const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// The error of the older era for a resource that is not there; -32602 took its place.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// Who one is that did not say who it is.
const UNNAMED: &str = r#"{"name":"unnamed","version":""}"#;

/// Between a host of one era and a server of the other.
#[derive(Debug)]
pub(crate) enum Translation {
    LegacyHost(Box<LegacyHost>),
    ModernHost(Box<ModernHost>),
}

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
        failure: UpstreamError,
    },
    /// Give up this request at the server: close its stream.
    Abandon(RequestId),
    /// Call `listen` again, after the wait that so many failures ask for.
    ListenLater { failures: u32 },
    /// Open the stream of what belongs to no request, or open it again.
    Listen,
    /// Call `expired` with this when the host has had its time to come back.
    StartInputTimeout(StateNumber),
    /// The server does speak the era that it was taken to speak.
    EraConfirmed,
    /// The server does not speak the era that it was taken to speak.
    EraRefuted,
}

impl Translation {
    /// The host's era.
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::LegacyHost(_) => Era::Legacy,
            Self::ModernHost(_) => Era::Modern,
        }
    }

    /// Whether this message of the host is to be translated.
    pub(crate) fn takes(&self, message: &Message, era: Era) -> bool {
        // What wants no answer says nothing of its era.
        self.era() == era || (self.era() == Era::Modern && message.is_no_request())
    }

    /// What the host says.
    pub(crate) fn on_host(&mut self, message: Message) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.on_host(message),
            Self::ModernHost(host) => host.on_host(message),
        }
    }

    /// What the server says: an answer, or something on the stream of the request `on`.
    pub(crate) fn on_server(&mut self, message: Message, on: Option<RequestId>) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.on_server(message, on),
            Self::ModernHost(host) => host.on_server(message, on),
        }
    }

    /// Something that was sent did not get through.
    pub(crate) fn failed(&mut self, on: Option<RequestId>, failure: UpstreamError) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.failed(on, failure),
            Self::ModernHost(host) => host.failed(on, failure),
        }
    }

    /// The server has forgotten the session that there is.
    pub(crate) fn lost(&mut self, gone: &UpstreamError) -> Vec<Action> {
        match self {
            // Its servers have none.
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.lose_session(gone),
        }
    }

    /// The host wants to hear what belongs to no request.
    pub(crate) fn listen(&mut self) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.listen(),
            Self::ModernHost(host) => host.listen(),
        }
    }

    /// The host no longer wants the answer to this request.
    pub(crate) fn abandon(&mut self, id: &RequestId) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.abandon(id),
            Self::ModernHost(host) => host.abandon(id),
        }
    }

    /// The host's end forgets the session; `gone` is what becomes of what is for a session alone.
    pub(crate) fn reset(&mut self, gone: &UpstreamError) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.reset(),
            Self::ModernHost(host) => host.reset(gone),
        }
    }

    /// The host has not come back with this state in time.
    pub(crate) fn expired(&mut self, state: StateNumber) -> Vec<Action> {
        match self {
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.expired(state),
        }
    }

    /// The host speaks the other era from now on.
    pub(crate) fn end(&mut self) -> Vec<Action> {
        match self {
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.end(),
        }
    }

    /// What the server is to hear before the connection ends.
    pub(crate) fn closing_messages(&self) -> Vec<Message> {
        match self {
            // The end of the connection says it all.
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.closing_messages(),
        }
    }
}

impl Action {
    /// The answer to a request of the host.
    fn answer(message: Message) -> Self {
        let request = message.id().cloned();
        Self::ToHost { message, request }
    }

    /// The same, with an error.
    fn refusal(id: &RequestId, code: i64, text: &str) -> Self {
        Self::answer(Message::error_response(Some(id), code, text, None))
    }
}

/// Whether it is an id of ours; where nothing is known of it, its request was given up.
fn is_own_id(id: &RequestId) -> bool {
    id.as_json()[1..].starts_with(ID_PREFIX)
}

#[cfg(test)]
mod tests;
