//! Which sign-ins have returned from Entra. Each may continue once.
//!
//! Owns: their states, in memory, for as long as their cookies are valid. Does not own: that a
//! transaction issues one code. The store ensures that.
//!
//! Without this, a visitor could make the gateway ask Entra again and again with one state.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::crypto::Digest;
use crate::storage::Seconds;

/// How many states are stored. Beyond that, a state may be used again until older ones have expired.
const MAX_CLAIMS: usize = 100_000;

#[derive(Default)]
pub(crate) struct Claims(Mutex<Claimed>);

#[derive(Default)]
struct Claimed {
    /// When each state expires.
    states: HashMap<Digest, Seconds>,
    forgot_at: Seconds,
}

impl Claims {
    /// Returns true if the state is used for the first time. It is valid until `expires_at`.
    pub(crate) fn claim(&self, state: Digest, expires_at: Seconds, now: Seconds) -> bool {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.forgot_at != now {
            claimed.forgot_at = now;
            claimed.states.retain(|_, until| now < *until);
        }
        if claimed.states.len() >= MAX_CLAIMS {
            return !claimed.states.contains_key(&state);
        }
        claimed.states.insert(state, expires_at).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_claimed_once_and_expires() {
        let claims = Claims::default();
        let state = |number: usize| Digest::of(&number.to_string());
        assert!(claims.claim(state(0), 10, 1));
        assert!(!claims.claim(state(0), 10, 2));
        for number in 1..MAX_CLAIMS + 10 {
            assert!(claims.claim(state(number), 10, 2));
        }
        let kept = || claims.0.lock().unwrap().states.len();
        assert_eq!(kept(), MAX_CLAIMS);
        assert!(!claims.claim(state(0), 10, 9));
        assert!(claims.claim(state(MAX_CLAIMS + 10), 20, 10));
        assert_eq!(kept(), 1);
    }
}
