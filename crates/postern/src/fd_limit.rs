//! How many files and connections this process may hold at once.
//!
//! A bridge has two for each conversation of a host, a gateway two for each request under way.
//! Where programs start with a window, on macOS, that is 256.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as anybody may. What a system refuses stays as it was: a server then
/// lets those wait that are too many.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    /// The most that is asked for, and what macOS takes at least.
    const WANTED: [u64; 2] = [65_536, 10_240];

    let limit = getrlimit(Resource::Nofile);
    for wanted in WANTED {
        let wanted = limit.maximum.map_or(wanted, |most| most.min(wanted));
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

/// Returns the limit, if there is one.
#[cfg(unix)]
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// There is none on Windows that a server comes near.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}

/// The same.
#[cfg(not(unix))]
pub(crate) fn limit() -> Option<u64> {
    None
}
