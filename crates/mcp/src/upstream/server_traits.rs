//! What the connections to one server have learned about it and share.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Era, ToolHeaders};

/// What is known about one server. Starts empty, and lives as long as the server's configuration.
#[derive(Debug, Default)]
pub struct ServerTraits {
    /// The headers that its tools require.
    pub(super) tools: ToolHeaders,
    /// The era that the server speaks, encoded by [`code`], once it has refused the other one.
    only: AtomicU8,
}

impl ServerTraits {
    /// Returns the headers that its tools require.
    #[must_use]
    pub fn tools(&self) -> &ToolHeaders {
        &self.tools
    }

    /// Returns true if the server speaks this era and has refused the other one.
    pub(super) fn speaks_only(&self, era: Era) -> bool {
        self.only.load(Ordering::Relaxed) == code(Some(era))
    }

    /// Records the only era of the server. `None` if an earlier record was wrong.
    pub(super) fn record_only(&self, era: Option<Era>) {
        self.only.store(code(era), Ordering::Relaxed);
    }
}

fn code(era: Option<Era>) -> u8 {
    match era {
        None => 0,
        Some(Era::Legacy) => 1,
        Some(Era::Modern) => 2,
    }
}
