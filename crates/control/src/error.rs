//! The errors of calls to the bridge.

use std::io;

use crate::api::Problem;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No bridge runs.
    #[error(
        "the bridge does not run; hint: `postern bridge` starts it, and so do the desktop app and any host"
    )]
    NotRunning,
    /// A bridge has the sockets and does not respond: it is stopped, or stuck. Contains its process ID,
    /// if known.
    #[error(
        "the bridge{} does not react; hint: end it and start another one with `postern bridge --replace --detach`", Self::process(*.0)
    )]
    Hung(Option<u32>),
    /// The bridge returned a problem.
    #[error("{0}")]
    Problem(Problem),
    /// The connection broke.
    #[error("the connection to the bridge broke: {0}; hint: try again")]
    Broken(io::Error),
}

impl CallError {
    fn process(pid: Option<u32>) -> String {
        pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
    }
}
