//! A bridge and a server that fails on command. No sign-in is required.

use tempfile::TempDir;

use super::{bridge::Bridge, upstream::Upstream};

/// The bridge and the server.
pub(crate) struct Relay {
    /// The server. The bridge knows it as `raw`.
    pub(crate) upstream: Upstream,
    pub(crate) bridge: Bridge,
    _folder: TempDir,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postern-it-")
            .tempdir()
            .expect("a temporary folder");
        let upstream = Upstream::start().await;
        let bridge = Bridge::configured(folder.path(), &upstream.config());
        bridge.start().await;
        Self {
            upstream,
            bridge,
            _folder: folder,
        }
    }
}
