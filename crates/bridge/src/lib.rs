//! The resident bridge, one per user: the only owner of tokens, upstream sessions and local
//! endpoints.
//!
//! Owns: the registry of servers, the sessions of hosts and the faces through which they come,
//! when a browser may be opened, the management API, host configuration files, server mode.
//! Does not own: how to sign in (`auth`), MCP on the wire (`mcp`), any window or terminal. It
//! does not know Tauri, and of the gateway it knows only how to start its process.

mod bridge_state;
pub mod browser;
mod config_file;
mod descriptors;
mod doctor;
mod endpoint;
mod headers;
pub mod hosts;
mod inspection;
mod management;
mod no_sign_in;
mod outbound;
mod probe;
mod problem;
mod registry;
mod server_cache;
mod server_mode;
mod session;
mod sign_in;
mod sleep_detector;
mod stand_in;

use std::path::PathBuf;
use std::time::Duration;

use control::Home;
use model::Clock;
use tokio_util::sync::CancellationToken;

pub use bridge_state::SHUTDOWN_TIMEOUT;
pub use config_file::ConfigError;
pub use descriptors::DescriptorLimits;
pub use outbound::{CaFileError, OutboundConfig, OutboundConfigError};

use crate::bridge_state::BridgeState;
use crate::endpoint::{HttpListeners, SocketError};

/// What a bridge is told by the program that runs it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files and sockets lie.
    pub home: Home,
    /// The version it claims; a client that is newer asks it to make room.
    pub version: String,
    /// The stable path of the command line: written into host files, started in server mode.
    pub program: PathBuf,
    /// What guards the tokens.
    pub vault: VaultChoice,
    /// The command that opens a page, instead of the system's browser.
    pub browser: Option<String>,
    /// Where the browser of whoever sits in front of it is.
    pub browser_availability: browser::BrowserAvailability,
    /// The time.
    pub clock: Clock,
    /// Ends the bridge after this long without any session or client. A bridge that a shim
    /// started has one; one that a person or the app started stays.
    pub idle_exit: Option<Duration>,
    /// Where host programs keep their files.
    pub places: hosts::Places,
    /// Certificates (PEM files) to trust besides the system's.
    pub extra_roots: Vec<PathBuf>,
    /// How many connections there may be.
    pub descriptors: DescriptorLimits,
}

/// What guards the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultChoice {
    /// The OS keychain.
    Keychain,
    /// A key file that only the user can read, as `POSTERN_VAULT=file` asks for.
    File,
}

/// Why a bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The sockets cannot be opened, most often because another bridge runs.
    #[error(transparent)]
    Sockets(#[from] control::socket::BindError),
    /// A certificate file cannot be used, or the TLS library cannot be set up.
    #[error("{0}; hint: check the files given as extra certificates")]
    Tls(String),
}

/// Runs a bridge until `shutdown`, a `quit` over the management API, or idleness.
///
/// `ready` is called once, when the sockets are open. A configuration that cannot be read or a
/// port that is taken does not stop it: both are shown, and the rest works.
///
/// # Errors
/// [`ServeError`] if it cannot start.
pub async fn serve(
    options: Options,
    ready: impl FnOnce() + Send,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (mut mcp, mut control) = control::socket::Listener::bind(&options.home)?;
    let http = mcp.beside(&options.home, control::socket::Face::Http)?;
    let bridge = BridgeState::new(options, shutdown).await?;
    let listeners = HttpListeners::open(&bridge, http).await;
    ready();
    listeners
        .serve(&bridge, &mut mcp, &mut control)
        .await
        .unwrap_or_else(|SocketError(reason)| {
            tracing::error!(%reason, "a socket broke; the bridge ends");
        });
    // Clients are told that no bridge runs. The other listener is held to the very end, and with
    // it the lock: a successor must not read the vault before the last renewal is in it.
    drop(control);
    bridge.end().await;
    drop(mcp);
    Ok(())
}
