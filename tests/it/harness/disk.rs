//! A disk that is full, for one process.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::bridge::Bridge;

/// What a bridge is started under ([`Bridge::start_under`]), so that a write beyond the limit is an
/// error and no signal.
pub(crate) const QUIETLY: &str = "trap '' XFSZ";

/// What a process may write: nothing, as on a full disk, or all that it likes. The limit of the
/// size of its files does that for this process alone.
pub(crate) struct Disk(Pid);

impl Disk {
    /// The disk of a bridge that was started with [`QUIETLY`].
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
