//! A user's session in a browser. Codes and refresh tokens belong to one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const DAY: u64 = 24 * 60 * 60;
/// The lifetime with "Stay signed in".
pub(crate) const PERSISTENT_LIFETIME: u64 = 90 * DAY;

/// A session of a signed-in user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// `sid` in tokens, `session_state` in responses.
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    /// When the user entered the password, in seconds since 1970.
    pub(crate) authenticated_at: u64,
    /// "Stay signed in".
    pub(crate) persistent: bool,
    /// Whether the user also gave a second factor.
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
