//! The gateway: an OAuth authorization server in front of Microsoft Entra ID, and a reverse
//! proxy for MCP servers that only its own sessions pass.
//!
//! Owns: registration, consent, the sign-in at Entra, sessions, and the way to the backends.
//! Does not own: reading `gateway.toml` and the environment, TLS (it ends in front of this),
//! MCP messages, which pass through unread.
//!
//! No token of Entra ever leaves it, and no token of a caller ever reaches a backend.

mod access;
mod app;
mod backends;
mod claims;
mod cookies;
mod cors;
mod crypto;
mod denial;
mod drain;
mod hosts;
mod oauth;
mod pages;
mod parameters;
mod person;
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
mod upstream;
mod visitors;
mod without_trailers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use model::config::gateway::GatewayConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use app::App;

pub use secrets::{SecretError, Secrets};

/// What a gateway is started with.
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
    /// How many descriptors the process may have, if the system limits them. Connections that they do not
    /// suffice for find no place.
    pub descriptors: Option<u64>,
}

/// Serves until `shutdown` is cancelled. Then no connection is accepted any more, requests may finish
/// within the `drain_seconds` of the configuration, and after them streams end. `ready` is called once,
/// when everything that could stop the start is done.
///
/// # Errors
/// If the configuration does not hold, a secret is missing, or the data folder cannot be used.
/// No error of a request ends it.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    ready: impl FnOnce() + Send,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(app) = App::new(options, shutdown).await? else {
        return Ok(());
    };
    ready();
    let housekeeping = app.tasks.spawn(keep_house(Arc::clone(&app)));
    let summaries = app.tasks.spawn(summarize_visits(Arc::clone(&app)));
    server::serve(listener, router::router(Arc::clone(&app)), &app).await;
    housekeeping.abort();
    summaries.abort();
    app.request_log.summarize();
    app.places.summarize();
    app.tasks.close();
    if tokio::time::timeout(timeouts::GRACE, app.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("a refresh at the identity provider was cut off");
    }
    Ok(())
}

/// Logs every ten seconds what requests and connections of visitors had no line of their own.
async fn summarize_visits(app: Arc<App>) {
    let mut interval = tokio::time::interval(Duration::from_secs(10));
    loop {
        interval.tick().await;
        app.request_log.summarize();
        app.places.summarize();
    }
}

/// Removes what has expired, at the start and every ten minutes.
async fn keep_house(app: Arc<App>) {
    let mut interval = tokio::time::interval(Duration::from_secs(600));
    loop {
        interval.tick().await;
        if let Err(error) = app.store.sweep(app.now()).await {
            tracing::error!(%error, "what has expired could not be removed");
        }
        app.sessions.forget_unused(access::LIFE);
    }
}
