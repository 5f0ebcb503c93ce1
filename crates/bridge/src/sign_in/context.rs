//! What sign-ins use of the bridge.

use std::sync::Arc;

use auth::Identity;
use model::Clock;

use crate::background::Background;
use crate::browser::UserBrowser;
use crate::config_store::ConfigStore;
use crate::notifications::Notifications;
use crate::pending_sign_ins::SignIns;

/// What sign-ins use of the bridge.
pub(crate) struct SignInContext {
    pub(crate) identity: Identity,
    /// The running sign-ins.
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) browser: UserBrowser,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) notifications: Notifications,
    pub(crate) background: Background,
}
