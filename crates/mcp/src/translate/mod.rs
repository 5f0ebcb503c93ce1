//! Translation between a host and a server of different eras.
//!
//! Owns: the messages that each side gets in place of the other's. A translation speaks the host's
//! era to the host and the server's era to the server. It does no I/O, has no timers and never
//! waits: its methods are called for each event and return actions. Does not own: detecting the era
//! of a server, and sending messages (`upstream`).
//!
//! Invariant: what need not change stays as it was written. Messages are composed of pieces of
//! those that came in, and a message that needs no change is passed on as it came.

mod input_request;
mod legacy_host;
mod modern_host;

pub(crate) use legacy_host::LegacyHost;
pub(crate) use modern_host::{ModernHost, StateNumber};

use crate::error::UpstreamError;
use crate::mrtr::ID_PREFIX;
use crate::{Era, Message, RequestId};

/// The log levels, the most verbose first.
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

/// The legacy error for a resource that does not exist, in place of -32602.
const RESOURCE_NOT_FOUND: i64 = -32002;

/// The info of a client or server that sent none.
const UNNAMED: &str = r#"{"name":"unnamed","version":""}"#;

/// A translation, by the era of the host.
#[derive(Debug)]
pub(crate) enum Translation {
    LegacyHost(Box<LegacyHost>),
    ModernHost(Box<ModernHost>),
}

/// An action for the connection to perform. Actions are performed in order.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Sends this message to the server.
    ToServer(Message),
    /// Sends this message to the host.
    ToHost {
        message: Message,
        /// The host's request that the message answers or belongs to.
        request: Option<RequestId>,
    },
    /// Reports that this request of the host failed, or its notification stream if there is none.
    Fail {
        request: Option<RequestId>,
        failure: UpstreamError,
    },
    /// Abandons this request at the server by closing its stream.
    Abandon(RequestId),
    /// Calls `listen` after the back-off for this many failures.
    ListenLater { failures: u32 },
    /// Opens or reopens the listening stream.
    Listen,
    /// Calls `expired` with this number after the input timeout.
    StartInputTimeout(StateNumber),
    /// The server speaks the era that was assumed.
    EraConfirmed,
    /// The server does not speak the era that was assumed.
    EraRefuted,
}

impl Translation {
    /// Returns the host's era.
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::LegacyHost(_) => Era::Legacy,
            Self::ModernHost(_) => Era::Modern,
        }
    }

    /// Returns true if this message of the host has to be translated.
    pub(crate) fn takes(&self, message: &Message, era: Era) -> bool {
        // Only requests name their era.
        self.era() == era || (self.era() == Era::Modern && message.is_no_request())
    }

    /// Handles a message of the host.
    pub(crate) fn on_host(&mut self, message: Message) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.on_host(message),
            Self::ModernHost(host) => host.on_host(message),
        }
    }

    /// Handles a message of the server: a response, or a message on the stream of the request `on`.
    pub(crate) fn on_server(&mut self, message: Message, on: Option<RequestId>) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.on_server(message, on),
            Self::ModernHost(host) => host.on_server(message, on),
        }
    }

    /// Handles the failure of a message to the server.
    pub(crate) fn failed(&mut self, on: Option<RequestId>, failure: UpstreamError) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.failed(on, failure),
            Self::ModernHost(host) => host.failed(on, failure),
        }
    }

    /// Handles the loss of the present session, which the server no longer knows.
    pub(crate) fn lost(&mut self, gone: &UpstreamError) -> Vec<Action> {
        match self {
            // Modern servers have no session.
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.lose_session(gone),
        }
    }

    /// Handles the host's wish for notifications.
    pub(crate) fn listen(&mut self) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.listen(),
            Self::ModernHost(host) => host.listen(),
        }
    }

    /// Abandons a request of the host.
    pub(crate) fn abandon(&mut self, id: &RequestId) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.abandon(id),
            Self::ModernHost(host) => host.abandon(id),
        }
    }

    /// Ends the session. `gone` is the error of the requests that need one.
    pub(crate) fn reset(&mut self, gone: &UpstreamError) -> Vec<Action> {
        match self {
            Self::LegacyHost(host) => host.reset(),
            Self::ModernHost(host) => host.reset(gone),
        }
    }

    /// Handles the timeout of a state that the host did not retry with.
    pub(crate) fn expired(&mut self, state: StateNumber) -> Vec<Action> {
        match self {
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.expired(state),
        }
    }

    /// Ends the translation, because the host speaks the other era from now on.
    pub(crate) fn end(&mut self) -> Vec<Action> {
        match self {
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.end(),
        }
    }

    /// Returns the messages that the server gets before the connection ends.
    pub(crate) fn closing_messages(&self) -> Vec<Message> {
        match self {
            // Closing the connection cancels everything.
            Self::LegacyHost(_) => Vec::new(),
            Self::ModernHost(host) => host.closing_messages(),
        }
    }
}

impl Action {
    /// Responds to a request of the host.
    fn answer(message: Message) -> Self {
        let request = message.id().cloned();
        Self::ToHost { message, request }
    }

    /// Responds to a request of the host with an error.
    fn refusal(id: &RequestId, code: i64, text: &str) -> Self {
        Self::answer(Message::error_response(Some(id), code, text, None))
    }
}

/// Returns true if this is an id of Postern. If it is unknown, its request was abandoned.
fn is_own_id(id: &RequestId) -> bool {
    id.as_json()[1..].starts_with(ID_PREFIX)
}

#[cfg(test)]
mod tests;
