//! A full disk, simulated for one process.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::bridge::Bridge;

/// A shell command for [`Bridge::start_after`]: a write beyond the limit then fails with an error
/// instead of a signal.
pub(crate) const IGNORE_SIGXFSZ: &str = "trap '' XFSZ";

/// The disk of a process. Filling it sets the limit of the process's file size to zero.
pub(crate) struct Disk(Pid);

impl Disk {
    /// Returns the disk of a bridge that was started with [`IGNORE_SIGXFSZ`].
    pub(crate) async fn of(bridge: &Bridge) -> Self {
        let process = bridge.process().await.cast_signed();
        Self(Pid::from_raw(process).expect("a process"))
    }

    pub(crate) fn fill(&self) {
        self.limit(Some(0));
    }

    pub(crate) fn clear(&self) {
        self.limit(getrlimit(Resource::Fsize).maximum);
    }

    fn limit(&self, current: Option<u64>) {
        let limit = Rlimit {
            current,
            ..getrlimit(Resource::Fsize)
        };
        prlimit(Some(self.0), Resource::Fsize, limit).expect("a limit");
    }
}
