//! The bridge, one process per user. It alone owns tokens, upstream sessions and local endpoints.
//!
//! Owns: the registry of servers, the sessions of hosts, the endpoints that accept them, when a
//! browser may be opened, the management API, host configuration files, server mode. Does not own:
//! how to sign in (`auth`), MCP on the wire (`mcp`), any window or terminal. It does not know
//! Tauri. Of the gateway it knows only how to start its process.

mod account_id;
mod background;
mod bridge;
pub mod browser;
mod client_hello;
mod config_file;
mod config_store;
mod descriptors;
mod doctor;
mod endpoint;
mod headers;
pub mod hosts;
mod inspection;
mod lifecycle;
mod management;
mod no_sign_in;
mod notifications;
mod outbound;
mod pending_sign_ins;
mod probe;
mod problem;
mod registry;
mod server_cache;
mod server_mode;
mod server_problem;
mod session;
mod session_registry;
mod sign_in;
mod sleep_detector;
mod stand_in;
mod state_view;
mod vault_status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::Home;
use model::Clock;
use tokio_util::sync::CancellationToken;

pub use config_file::ConfigError;
pub use descriptors::DescriptorLimits;
pub use lifecycle::SHUTDOWN_TIMEOUT;
pub use outbound::{CaFileError, OutboundConfig, OutboundConfigError};

use crate::bridge::Bridge;
use crate::endpoint::HttpListeners;

/// Options that the program running the bridge passes in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its files and sockets.
    pub home: Home,
    /// The version it reports. A newer client asks it to yield.
    pub version: String,
    /// The stable path of the command line program. It is written into host files and started in
    /// server mode.
    pub program: PathBuf,
    /// What protects the tokens.
    pub vault: VaultChoice,
    /// The command that opens pages instead of the system's browser.
    pub browser: Option<String>,
    /// Whether the user's browser can be opened from this process.
    pub browser_availability: browser::BrowserAvailability,
    /// The clock.
    pub clock: Clock,
    /// Ends the bridge after this long without a session or client. A bridge that a shim started
    /// has such a timeout. A bridge that the user or the app started has none.
    pub idle_exit: Option<Duration>,
    /// The folders in which hosts keep their files.
    pub places: hosts::Places,
    /// PEM files of certificates to trust in addition to the system's.
    pub extra_roots: Vec<PathBuf>,
    /// Caps on connections.
    pub descriptors: DescriptorLimits,
}

/// What protects the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultChoice {
    /// The system keychain.
    Keychain,
    /// A key file that only the user can read (`POSTERN_VAULT=file`).
    File,
}

/// Errors that keep a bridge from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The sockets cannot be opened, usually because another bridge runs.
    #[error(transparent)]
    Sockets(#[from] control::socket::BindError),
    /// A certificate file cannot be used, or the TLS library cannot be set up.
    #[error("{0}; hint: check the files given as extra certificates")]
    Tls(String),
}

/// Runs a bridge until `shutdown`, a `quit` over the management API, or the idle timeout.
///
/// Calls `ready` once, when the sockets are open. Starts even if the configuration cannot be read
/// or the port is in use: it reports both problems, and everything else works.
///
/// # Errors
/// Returns [`ServeError`] if the bridge cannot start.
pub async fn serve(
    options: Options,
    ready: impl FnOnce() + Send,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (mut mcp, mut control) = control::socket::Listener::bind(&options.home)?;
    let http = mcp.beside(&options.home, control::socket::SocketKind::Http)?;
    let bridge = Arc::new(Bridge::start(options, shutdown)?);
    let listeners = HttpListeners::open(&bridge.endpoint, http).await;
    ready();
    let served = tokio::select! {
        served = listeners.serve(&bridge.endpoint, &mut mcp) => served,
        served = management::serve(&bridge, &mut control) => served,
    };
    if let Err(reason) = served {
        tracing::error!(%reason, "a socket failed; the bridge ends");
    }
    // Drops the control listener first, so that clients learn that no bridge runs. The other
    // listener holds the lock until the end: a successor must not read the vault before the last
    // refreshed token is in it.
    drop(control);
    bridge.end().await;
    drop(mcp);
    Ok(())
}
