//! What the endpoints use of the bridge.

use std::sync::Arc;

use mcp::memory::Budget;

use super::addresses::Addresses;
use crate::background::Background;
use crate::config_store::ConfigStore;
use crate::session::SessionContext;
use crate::session_registry::SessionRegistry;

/// What the endpoints use of the bridge.
pub(crate) struct EndpointContext {
    /// The version that shims are told.
    pub(crate) version: String,
    /// For starting sessions.
    pub(crate) session: Arc<SessionContext>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) addresses: Arc<Addresses>,
    /// The memory for messages of hosts.
    pub(crate) from_hosts: Budget,
    /// The memory for messages to hosts.
    pub(crate) to_hosts: Budget,
    /// The maximum of HTTP connections.
    pub(crate) max_http_connections: usize,
    pub(crate) background: Background,
}
