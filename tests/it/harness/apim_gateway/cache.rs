//! The cache of API Management: texts by key, each for a while by the gateway's own clock.

use std::{collections::HashMap, time::Duration};

/// How long most things are kept.
const USUAL: Duration = Duration::from_secs(60 * 60);

/// What is kept. Keys have a kind in front, as in `EntraToken-…`.
#[derive(Default)]
pub(super) struct Cache {
    /// Since its start.
    now: Duration,
    kept: HashMap<String, Kept>,
    sessions: usize,
}

struct Kept {
    until: Duration,
    text: String,
}

impl Cache {
    pub(super) fn keep(&mut self, key: String, text: &str) {
        if key.starts_with("EntraToken-") {
            self.sessions += 1;
        }
        let kept = Kept {
            until: self.now + USUAL,
            text: text.to_owned(),
        };
        self.kept.insert(key, kept);
    }

    pub(super) fn find(&self, key: &str) -> Option<String> {
        let kept = self.kept.get(key)?;
        (self.now < kept.until).then(|| kept.text.clone())
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.kept.remove(key);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// How many sessions have begun.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }
}
