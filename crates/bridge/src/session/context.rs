//! What sessions use of the bridge.

use std::sync::Arc;

use auth::Identity;
use mcp::memory::Budget;
use mcp::upstream::Client;

use crate::background::Background;
use crate::config_store::ConfigStore;
use crate::lifecycle::Clients;
use crate::notifications::Notifications;
use crate::pending_sign_ins::SignIns;
use crate::session_registry::SessionRegistry;
use crate::sign_in::SignInContext;

/// What sessions use of the bridge, also those of the bridge itself.
pub(crate) struct SessionContext {
    /// The version that sessions of the bridge itself report.
    pub(crate) version: String,
    pub(crate) identity: Identity,
    /// For starting a sign-in.
    pub(crate) sign_in: Arc<SignInContext>,
    /// The running sign-ins.
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) config: Arc<ConfigStore>,
    /// Connects to servers.
    pub(crate) upstream: Client,
    /// The memory for messages to hosts.
    pub(crate) to_hosts: Budget,
    pub(crate) notifications: Notifications,
    pub(crate) background: Background,
}
