//! A user's session in a browser, to which codes and refresh tokens belong.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const DAY: u64 = 24 * 60 * 60;
/// How long a person who stays signed in does so.
pub(crate) const PERSISTENT_LIFETIME: u64 = 90 * DAY;

/// A person signed in on a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `sid` in tokens, `session_state` in answers.
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    /// When the password was typed, in seconds since 1970.
    pub(crate) authenticated_at: u64,
    /// "Stay signed in".
    pub(crate) persistent: bool,
    /// Whether a second factor was given, too.
    #[serde(default)]
    pub(crate) second_factor: bool,
}

impl Session {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        let lifetime = if self.persistent {
            PERSISTENT_LIFETIME
        } else {
            DAY
        };
        now < self.authenticated_at + lifetime
    }
}
