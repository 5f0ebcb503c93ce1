//! Timeouts that several modules share.

use std::time::Duration;

/// After how long without traffic a connection is probed. Event streams may be silent for longer than
/// anything else.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(60);
/// The interval between probes.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long a connection may take to close once it has been drained.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
