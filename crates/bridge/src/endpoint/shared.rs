//! State shared by the HTTP handlers.

use std::sync::Arc;

use super::processes::Processes;
use super::sessions::Sessions;
use super::sse_streams::SseStreams;
use super::stateless::SuspendedSessions;
use crate::bridge_state::BridgeState;

/// State shared by the HTTP handlers.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) bridge: Arc<BridgeState>,
    pub(super) streamable: Arc<Sessions>,
    pub(super) suspended: Arc<SuspendedSessions>,
    pub(super) sse: Arc<SseStreams>,
    pub(super) processes: Processes,
}
