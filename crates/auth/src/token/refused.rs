//! The access tokens that a server refused. No I/O.
//!
//! Owns: whether a token may still be sent to that server, and whether to request another one.
//! Does not own: the token, which other servers may accept.

use super::grant::Tokens;
use super::pause::{AFTER_REFUSAL, REFUSED_TWICE};

/// The refusals (401) of one server.
#[derive(Default)]
pub(crate) struct Refused {
    /// The number of the newest refused token.
    newest: Option<u64>,
    /// When it last refused a token that was not about to expire.
    at: Option<u64>,
    /// Until when no other token is requested, because it refused two within a minute.
    pause: Option<u64>,
}

impl Refused {
    /// Records that the server refused this token. Returns false if that is known. A token that is
    /// about to expire says nothing about the next one.
    pub(crate) fn record(&mut self, serial: u64, tokens: &Tokens, now: u64) -> bool {
        if self.covers(serial) {
            return false;
        }
        self.newest = Some(serial);
        if tokens.is_expiring(now) {
            return true;
        }
        let before = self.at.replace(now);
        if before.is_some_and(|at| now.saturating_sub(at) < REFUSED_TWICE) {
            self.pause = Some(now + AFTER_REFUSAL);
        }
        true
    }

    /// Returns true if the server refused this token.
    pub(crate) fn covers(&self, serial: u64) -> bool {
        self.newest == Some(serial)
    }

    /// Returns true if it refused two tokens within a minute, less than a minute ago.
    pub(crate) fn is_paused(&self, now: u64) -> bool {
        self.pause.is_some_and(|until| now < until)
    }
}
