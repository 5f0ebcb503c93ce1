//! The verdicts on which access tokens may go to which server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::approval::AudienceChange;

/// The latest verdict for each server, by its URL.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Mutex<HashMap<String, Checked>>);

#[derive(Debug)]
struct Checked {
    serial: u64,
    generation: u64,
    verdict: Verdict,
    /// True if the server has accepted the token.
    is_accepted: bool,
}

/// Whether a token may go to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    /// The grant has scopes of a resource that the server may not use.
    NotApproved,
    /// The audience is one of Microsoft's own.
    Microsoft {
        audience: String,
        owner: &'static str,
    },
    /// The user must approve the audience.
    Changed(AudienceChange),
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Checked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, url: &str, serial: u64, generation: u64) -> Option<Verdict> {
        let known = self.lock();
        let known = known.get(url)?;
        let is_current = known.serial == serial && known.generation == generation;
        is_current.then(|| known.verdict.clone())
    }

    pub(super) fn record(&self, url: &str, serial: u64, generation: u64, verdict: Verdict) {
        let mut known = self.lock();
        let is_accepted = known
            .get(url)
            .is_some_and(|before| before.serial == serial && before.is_accepted);
        let checked = Checked {
            serial,
            generation,
            verdict,
            is_accepted,
        };
        known.insert(url.to_owned(), checked);
    }

    /// Returns true if this is the first acceptance of the token.
    pub(super) fn accept(&self, url: &str, serial: u64) -> bool {
        let mut known = self.lock();
        let checked = known.get_mut(url).filter(|known| known.serial == serial);
        checked.is_some_and(|known| !std::mem::replace(&mut known.is_accepted, true))
    }
}
