//! The sample MCP server: `hello_mcp`, `get_snippet`, `save_snippet`, with storage per user.
//!
//! It is the demo's backend. It also checks our wire code against another implementation, so it
//! is built on the official Rust SDK (`rmcp`) and uses no other crate of Postern.
//!
//! - `/mcp`: Streamable HTTP in both eras (`initialize` up to 2025-11-25, stateless 2026-07-28).
//! - `/sse` and `/message?sessionId=…`: the HTTP+SSE transport of 2024-11-05 ([`sse`]).
//! - `/healthz`: 200 while the server runs. The only path that needs no functions key.
//!
//! The header `x-postern-user` identifies the user. The server trusts it only because every
//! request must carry the functions key ([`access`]). This server has no sign-in of its own.

mod access;
mod sse;
mod store;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::tools::Snippets;

/// How long open requests may run after `shutdown` before they are aborted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a POST body in bytes. A snippet of the maximum size fits, escaped or not.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The settings of the server.
#[derive(Debug)]
pub struct Options {
    /// The key that requests must send as `x-functions-key`. Must not be empty.
    pub functions_key: SecretString,
    /// The folder of the snippets. Created if missing, readable by its owner only.
    pub data_dir: PathBuf,
}

/// Serves until `shutdown`, then waits up to five seconds for open requests.
///
/// # Errors
///
/// If the functions key is empty, the data folder cannot be created, or accepting fails.
pub async fn serve(
    options: Options,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let app = router(options, &shutdown)?;
    // Responses are small and often events. Waiting for a full packet would only delay them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not disable Nagle's algorithm");
        }
    });
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        served = serving => served.context("the snippets server stopped accepting connections"),
        () = shutdown_timeout(&shutdown) => {
            tracing::warn!("aborted requests that were still open after the shutdown timeout");
            Ok(())
        }
    }
}

async fn shutdown_timeout(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
}

fn router(options: Options, shutdown: &CancellationToken) -> anyhow::Result<Router> {
    anyhow::ensure!(
        !options.functions_key.expose_secret().is_empty(),
        "the functions key is empty; hint: give the snippets server the same secret that the gateway sends as x-functions-key"
    );
    let store = Store::open(options.data_dir)?;
    let server = Snippets::new(Arc::new(store));
    let key = Arc::new(options.functions_key);
    Ok(Router::new()
        .route_service("/mcp", streamable(server.clone(), shutdown))
        .merge(sse::routes(server, shutdown.clone()))
        .fallback(access::not_found)
        .layer(axum::middleware::from_fn_with_state(
            key,
            access::require_key,
        ))
        // Added after the layer, which therefore does not apply: health needs no key.
        .route("/healthz", get(async || "ok\n")))
}

fn streamable(
    server: Snippets,
    shutdown: &CancellationToken,
) -> StreamableHttpService<Snippets, LocalSessionManager> {
    let config = StreamableHttpServerConfig::default()
        // DNS rebinding gains nothing here, because a web page does not know the functions key.
        // The gateway may reach this server by any name.
        .disable_allowed_hosts()
        .with_max_request_body_bytes(MAX_BODY_BYTES)
        .with_cancellation_token(shutdown.clone());
    StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    )
}
