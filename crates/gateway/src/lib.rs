//! The gateway: an OAuth authorization server in front of Microsoft Entra ID, and a reverse proxy for
//! MCP servers that accepts only its own sessions.
//!
//! Owns: registration, consent, the sign-in at Entra, sessions, and requests to the backends. Does not
//! own: reading `gateway.toml` and the environment, TLS (which ends in front of the gateway), and the
//! content of MCP messages.
//!
//! No token of Entra ever leaves the gateway, and no token of a caller ever reaches a backend.

mod backends;
mod bearer;
mod claims;
mod cookies;
mod cors;
mod crypto;
mod denial;
mod drain;
mod gateway_state;
mod host_header;
mod identity_provider;
mod oauth;
mod pages;
mod parameters;
mod places;
mod proxy;
mod rates;
mod redirect;
mod request_log;
mod router;
mod scope;
mod secrets;
mod server;
mod servers;
mod sessions;
mod storage;
mod timeouts;
mod user;
mod visitors;
mod without_trailers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use model::config::gateway::GatewayConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use gateway_state::GatewayState;

pub use secrets::{SecretError, Secrets};

/// The options of a gateway.
#[derive(Debug)]
pub struct Options {
    /// `gateway.toml`.
    pub config: GatewayConfig,
    /// The folder for the database and, unless the configuration names keys, the key file.
    /// It is created if absent, for its owner only.
    pub data_dir: PathBuf,
    /// The values of the secrets that `config` names.
    pub secrets: Secrets,
    /// The time.
    pub clock: Clock,
    /// How many descriptors the process may have, if the system limits them. The number of connections
    /// is limited accordingly.
    pub descriptors: Option<u64>,
}

/// Serves until `shutdown` is cancelled. Then it accepts no more connections, lets requests finish
/// within the `drain_seconds` of the configuration, and ends streams after that. Calls `ready` once,
/// when the start can no longer fail.
///
/// # Errors
///
/// If the configuration is invalid, a secret is missing, or the data folder cannot be used. No error
/// of a request ends it.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    ready: impl FnOnce() + Send,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(gateway) = GatewayState::new(options, shutdown).await? else {
        return Ok(());
    };
    ready();
    let housekeeping = gateway.tasks.spawn(sweep_expired(Arc::clone(&gateway)));
    let summaries = gateway.tasks.spawn(summarize_visits(Arc::clone(&gateway)));
    server::serve(listener, router::router(Arc::clone(&gateway)), &gateway).await;
    housekeeping.abort();
    summaries.abort();
    gateway.request_log.summarize();
    gateway.places.summarize();
    gateway.tasks.close();
    if tokio::time::timeout(timeouts::GRACE, gateway.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("a refresh at the identity provider was cut off");
    }
    Ok(())
}

/// Logs every ten seconds how many requests and connections had no log line of their own.
async fn summarize_visits(gateway: Arc<GatewayState>) {
    let mut interval = tokio::time::interval(Duration::from_secs(10));
    loop {
        interval.tick().await;
        gateway.request_log.summarize();
        gateway.places.summarize();
    }
}

/// Removes what has expired, at the start and every ten minutes.
async fn sweep_expired(gateway: Arc<GatewayState>) {
    let mut interval = tokio::time::interval(Duration::from_secs(600));
    loop {
        interval.tick().await;
        if let Err(error) = gateway.store.sweep(gateway.now()).await {
            tracing::error!(%error, "expired rows could not be removed");
        }
        gateway.sessions.forget_unused(bearer::LIFETIME);
    }
}
