//! What the connections to one server have learned of it, for each other.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Era, ToolHeaders};

/// See the module. Begins with nothing, and lives as long as the server's configuration.
#[derive(Debug, Default)]
pub struct ServerTraits {
    /// What its tools want repeated in headers.
    pub(super) tools: ToolHeaders,
    /// The era it speaks, once it has refused the other one, as [`code`] writes it.
    only: AtomicU8,
}

impl ServerTraits {
    /// What its tools want repeated in headers.
    #[must_use]
    pub fn tools(&self) -> &ToolHeaders {
        &self.tools
    }

    /// Whether it speaks this era and refused the other one.
    pub(super) fn speaks_only(&self, era: Era) -> bool {
        self.only.load(Ordering::Relaxed) == code(Some(era))
    }

    /// Takes note that it refused the other era, or that this was a mistake.
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
