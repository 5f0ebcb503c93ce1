//! Timeouts that several modules share.

use std::time::Duration;

/// After how long without traffic the other end is asked whether it is there. Event streams may
/// be silent for longer than anything else.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How long there is between two such questions.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(15);
/// How long a connection may take to close once it has been drained.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
