//! The limit on open files and connections of this process.
//!
//! A bridge needs two file descriptors for each session, and a gateway two for each active request.
//! On macOS, programs that are started from the desktop get 256.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit as far as the hard limit allows. If the system refuses, the limit stays
/// unchanged, and servers let excess connections wait.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    /// The preferred limit, and the highest that every macOS accepts.
    const WANTED: [u64; 2] = [65_536, 10_240];

    let limit = getrlimit(Resource::Nofile);
    for wanted in WANTED {
        let wanted = limit.maximum.map_or(wanted, |max| max.min(wanted));
        if limit.current.is_none_or(|current| current >= wanted) {
            return;
        }
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return;
        }
    }
}

/// Returns the soft limit, or `None` if there is none.
#[cfg(unix)]
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Does nothing: the limit of Windows is far above what a server needs.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}

/// Returns `None`: the limit of Windows is far above what a server needs.
#[cfg(not(unix))]
pub(crate) fn limit() -> Option<u64> {
    None
}
