//! The attempts to refresh, and the pause after one that failed.

use crate::token::grant_error::GrantError;

/// Refresh attempts with the same parameters.
#[derive(Default)]
pub(super) struct Attempts {
    /// The number of finished attempts.
    pub(super) ended: u64,
    /// The outcome of the last one, if it failed.
    pub(super) backoff: Option<Backoff>,
}

/// Why and until when the token endpoint gets no request.
pub(super) struct Backoff {
    pub(super) until: u64,
    pub(super) error: GrantError,
    /// True if it ends as soon as there is no usable token.
    pub(super) only_while_usable: bool,
}

impl Attempts {
    /// Returns the error that prevents another attempt.
    pub(super) fn active_error(&self, now: u64, usable: bool) -> Option<&GrantError> {
        let is_active =
            |backoff: &&Backoff| now < backoff.until && (usable || !backoff.only_while_usable);
        self.backoff
            .as_ref()
            .filter(is_active)
            .map(|backoff| &backoff.error)
    }

    pub(super) fn end(&mut self, backoff: Option<Backoff>) {
        self.ended += 1;
        self.backoff = backoff;
    }
}
