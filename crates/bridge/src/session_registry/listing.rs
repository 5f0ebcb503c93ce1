//! How sessions are listed.

use control::api::{SessionState, SessionView, UnixSeconds};

use super::Presence;

/// The kind of session, as far as the list of sessions is concerned.
#[derive(Debug)]
pub(crate) enum Listing {
    /// A session of a shim. It ends with its connection, and is active until then.
    Stdio,
    /// A session on an HTTP stream. It ends with the stream, and is active until then.
    Stream {
        /// The transport, as the list names it.
        transport: &'static str,
    },
    /// A session over Streamable HTTP with an id. It is kept while its host is away.
    Persistent(Presence),
    /// A session for a single request. It is not listed.
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
            transport: transport.to_owned(),
            since,
            state: SessionState::Active,
        };
        Self { view, listing }
    }

    /// Returns the entry of the list. Returns `None` if the session is not listed now.
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

    /// Returns true if its host may send another message, or waits for a response.
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
