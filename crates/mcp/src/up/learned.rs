//! What the connections to one server have learned of it, for each other.

use crate::ToolHeaders;

/// See the module. Begins with nothing, and lives as long as the server's configuration.
#[derive(Debug, Default)]
pub struct Learned {
    /// What its tools want repeated in headers.
    pub(super) tools: ToolHeaders,
}

impl Learned {
    /// What its tools want repeated in headers.
    #[must_use]
    pub fn tools(&self) -> &ToolHeaders {
        &self.tools
    }
}
