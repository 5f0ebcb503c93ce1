//! The cache of API Management: texts by key, which expire by the gateway's own clock.

use std::{collections::HashMap, time::Duration};

/// How long an entry is stored.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The cache. Keys have a prefix, as in `EntraToken-…`.
#[derive(Default)]
pub(super) struct Cache {
    /// The time since the start.
    now: Duration,
    entries: HashMap<String, Entry>,
    sessions: usize,
}

struct Entry {
    until: Duration,
    text: String,
}

impl Cache {
    pub(super) fn keep(&mut self, key: String, text: &str) {
        if key.starts_with("EntraToken-") {
            self.sessions += 1;
        }
        let entry = Entry {
            until: self.now + LIFETIME,
            text: text.to_owned(),
        };
        self.entries.insert(key, entry);
    }

    pub(super) fn find(&self, key: &str) -> Option<String> {
        let entry = self.entries.get(key)?;
        (self.now < entry.until).then(|| entry.text.clone())
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.entries.remove(key);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// Returns how many sessions have begun.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }
}
