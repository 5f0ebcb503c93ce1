//! `postern ui`: the app's window in a browser, over loopback HTTP.
//!
//! Owns: the page's files, the management API over HTTP, and the access checks.
//! Does not own: the management API itself. It is not served on the endpoints for hosts.

mod access;
mod api;
mod page;

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::{get, post};
use reqwest::Url;

use crate::cli::UiArgs;
use crate::commands::listen;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::CliError;
use crate::{signals, terminal};
use access::AccessPolicy;

/// Serves the page until a signal, and opens it in the browser.
pub(crate) fn run(args: &UiArgs, context: &Context) -> Result<(), CliError> {
    context.block_on(async {
        drop(context.bridge().await?);
        let listener = listen(
            SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
            "another --port",
        )?;
        let address = listener.local_addr().map_err(CliError::new)?;
        let policy = AccessPolicy::new(address)?;
        let page = policy.new_link()?;
        terminal::print(format_args!(
            "Postern's window, while this command runs (Ctrl-C ends it):\n\n  {page}\n\n\
             The link works once and expires after five minutes."
        ));
        if !args.no_open {
            let page = page.parse().map_err(CliError::new)?;
            // In a task of its own, because a failing browser command may take a while to end.
            tokio::spawn(open(page, context.environment.clone()));
        }
        let service =
            router(policy, context.clone()).into_make_service_with_connect_info::<SocketAddr>();
        let shutdown = signals::shutdown();
        tokio::select! {
            served = async { axum::serve(listener, service).await } => served.map_err(CliError::new),
            () = shutdown.cancelled() => Ok(()),
        }
    })
}

async fn open(page: Url, environment: Environment) {
    let (command, surroundings) = (environment.browser.as_deref(), environment.surroundings());
    if let Err(problem) = bridge::browser::open(&page, command, surroundings).await {
        terminal::note(format_args!(
            "No browser could be opened ({problem}). Open the link above."
        ));
    }
}

fn router(policy: AccessPolicy, context: Context) -> Router {
    let api = Router::new()
        .route("/api/call", post(api::call))
        .route("/api/state", get(api::state))
        .with_state(context)
        .route_layer(axum::middleware::from_fn_with_state(
            policy.clone(),
            access::require_token,
        ));
    api.route(
        "/enter/{code}",
        get(access::enter).with_state(policy.clone()),
    )
    .fallback(page::file)
    .layer(axum::middleware::from_fn_with_state(
        policy,
        access::check_access,
    ))
}

#[cfg(test)]
mod tests;
