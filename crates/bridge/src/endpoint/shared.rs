//! State shared by the HTTP handlers.

use std::sync::Arc;

use super::context::EndpointContext;
use super::processes::Processes;
use super::sessions::Sessions;
use super::sse_streams::SseStreams;
use super::stateless::SuspendedSessions;

/// State shared by the HTTP handlers.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) context: Arc<EndpointContext>,
    pub(super) streamable: Arc<Sessions>,
    pub(super) suspended: Arc<SuspendedSessions>,
    pub(super) sse: Arc<SseStreams>,
    pub(super) processes: Processes,
}
