//! The timeouts of a session.

use std::time::Duration;

use model::config::BridgeSettings;

use super::HANDSHAKE_WAIT;
use crate::session_registry::Listing;

/// How long a list over HTTP waits at most: some hosts give a remote server five seconds to start.
const MAX_HTTP_LIST_WAIT: Duration = Duration::from_secs(4);

/// The timeouts of the host's requests, from the settings at the start of the session.
pub(super) struct Timeouts {
    /// For a sign-in.
    pub(super) sign_in: Duration,
    /// For a server that cannot be reached.
    pub(super) server: Duration,
    /// For lists that are not cached: for a server that may still respond, or for a sign-in from
    /// its start on.
    pub(super) lists: Duration,
}

impl Timeouts {
    pub(super) fn from_settings(settings: &BridgeSettings, listing: &Listing) -> Self {
        let lists = Duration::from_secs(settings.list_wait_seconds);
        Self {
            sign_in: Duration::from_secs(settings.sign_in_wait_seconds),
            server: Duration::from_secs(settings.server_wait_seconds),
            lists: match listing {
                Listing::Stdio => lists,
                Listing::Stream { .. } | Listing::Persistent(_) | Listing::Single => {
                    lists.min(MAX_HTTP_LIST_WAIT)
                }
            },
        }
    }

    /// Returns how long a list that is not cached waits for a server that may still respond.
    pub(super) fn list(&self) -> Duration {
        self.lists.max(HANDSHAKE_WAIT)
    }
}
