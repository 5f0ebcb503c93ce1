//! How sessions are listed.

use control::api::{SessionState, SessionView, UnixSeconds};

use super::Presence;

/// What a session is to the list of sessions.
#[derive(Debug)]
pub(crate) enum Listing {
    /// A shim's: it ends with its connection, and is active until then.
    Stdio,
    /// On a stream of HTTP that it ends with, and active until then.
    Stream {
        /// The transport, as the list names it.
        transport: &'static str,
    },
    /// Over Streamable HTTP, with an id: it is kept whether its host is there or not.
    Persistent(Presence),
    /// Of a single request. It is not listed.
    Single,
}

/// A session in the list.
#[derive(Debug)]
pub(super) struct ListedSession {
    view: SessionView,
    listing: Listing,
}

impl ListedSession {
    pub(super) fn new(id: u32, server: String, since: UnixSeconds, listing: Listing) -> Self {
        let transport = match &listing {
            Listing::Stdio => "stdio",
            Listing::Stream { transport } => transport,
            Listing::Persistent(_) | Listing::Single => "http",
        };
        let view = SessionView {
            id,
            server,
            host: String::new(),
            face: transport.to_owned(),
            since,
            state: SessionState::Active,
        };
        Self { view, listing }
    }

    /// Returns what the list shows, or `None` if it does not show this one.
    pub(super) fn view(&self) -> Option<SessionView> {
        let state = match &self.listing {
            Listing::Stdio | Listing::Stream { .. } => SessionState::Active,
            Listing::Persistent(host) => host.state()?,
            Listing::Single => return None,
        };
        Some(SessionView {
            state,
            ..self.view.clone()
        })
    }

    /// Whether its host may send another message, or waits for an answer.
    pub(super) fn may_go_on(&self) -> bool {
        match &self.listing {
            Listing::Persistent(host) => !host.is_gone(),
            Listing::Stdio | Listing::Stream { .. } | Listing::Single => true,
        }
    }

    pub(super) fn is_shim(&self) -> bool {
        matches!(self.listing, Listing::Stdio)
    }

    pub(super) fn set_host(&mut self, name: &str) {
        name.clone_into(&mut self.view.host);
    }
}
