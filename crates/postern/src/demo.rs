//! `postern demo`: all components on this machine, with nothing to set up.
//!
//! Owns: starting the components ([`stack`]), signing in by script ([`browser`]), and showing a tool
//! call on every transport ([`client`]). Does not own: the user's installation. It starts the same
//! components as an installation does, with ordinary configuration files.

pub(crate) mod browser;
mod client;
mod files;
mod form;
mod stack;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use control::api::{Reply, Request, SignInWay, State};
use serde_json::json;
use tokio::process::Command;

use self::files::SERVER;
use crate::cli::DemoArgs;
use crate::commands::sign_in::show_page;
use crate::context::Context;
use crate::error::CliError;
use crate::{logging, signals, terminal};
use client::DemoClient;
use stack::DemoStack;

/// The timeout of the scripted sign-in.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the components, then runs the script or lets the user try them.
pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<(), CliError> {
    let quiet = context.environment.log.as_deref().unwrap_or("warn");
    logging::to_stderr(Some(quiet));
    context.block_on_all_cores(async {
        let scripted = args.scripted || !context.environment.has_display;
        let (stack, mut servers) = DemoStack::start(args, context, scripted).await?;
        terminal::print(stack.announcement());
        let stop = signals::shutdown();
        let shown = tokio::select! {
            shown = show(args, scripted, &stack, context) => shown,
            ended = servers.ended() => ended,
            () = stop.cancelled() => Ok(()),
        };
        stack.end(servers).await;
        Ok(shown?)
    })
}

async fn show(
    args: &DemoArgs,
    scripted: bool,
    stack: &DemoStack,
    context: &Context,
) -> anyhow::Result<()> {
    if scripted {
        sign_in(stack).await?;
        transcript(stack, context).await?;
        if !args.keep {
            return Ok(());
        }
    }
    terminal::print(stack.suggestions(context));
    match &args.app {
        Some(app) => run_app(app, stack).await,
        None => std::future::pending().await,
    }
}

async fn run_app(app: &Path, stack: &DemoStack) -> anyhow::Result<()> {
    let mut command = Command::new(app);
    command.arg("--home").arg(stack.folder()).kill_on_drop(true);
    stack.set_environment(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("{} cannot be started", app.display()))?;
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "the app ended with {status}");
    Ok(())
}

async fn sign_in(stack: &DemoStack) -> anyhow::Result<()> {
    terminal::print(format_args!("\n$ postern sign-in {SERVER}"));
    let mut client = stack.client().await?;
    let request = Request::SignIn {
        server: SERVER.to_owned(),
        way: SignInWay::Local,
    };
    let watching = stack.client().await?;
    let signed_in = async {
        tokio::select! {
            reply = client.call(&request) => reply,
            never = show_page(watching, SERVER) => match never {},
        }
    };
    tokio::time::timeout(SIGN_IN_TIMEOUT, signed_in)
        .await
        .context("the sign-in did not finish within a minute")??;
    let state = state(stack).await?;
    let account = state
        .accounts
        .iter()
        .find_map(|account| account.username.as_deref().or(account.name.as_deref()));
    terminal::print(format_args!(
        "Signed in to {SERVER} as {}.",
        account.unwrap_or("an account without a name")
    ));
    Ok(())
}

async fn state(stack: &DemoStack) -> anyhow::Result<State> {
    match stack.client().await?.call(&Request::Status).await? {
        Reply::State(state) => Ok(*state),
        other => anyhow::bail!("the bridge replied to `status` with {other:?}"),
    }
}

/// Calls the three tools over the three transports.
async fn transcript(stack: &DemoStack, context: &Context) -> anyhow::Result<()> {
    let state = state(stack).await?;
    let server = state.servers.iter().find(|server| server.name == SERVER);
    let server = server.context("the bridge does not know the server")?;
    let http = server
        .endpoint
        .as_deref()
        .context("there is no HTTP endpoint")?;
    let sse = server
        .sse_endpoint
        .as_deref()
        .context("there is no SSE endpoint")?;

    terminal::print(format_args!("\nstdio: postern connect {SERVER}"));
    call_all_tools("stdio", DemoClient::stdio(stack, context)?).await?;
    terminal::print(format_args!("\nStreamable HTTP: {http}"));
    call_all_tools("http", DemoClient::http(http)?).await?;
    terminal::print(format_args!("\nHTTP+SSE: {sse}"));
    call_all_tools("sse", DemoClient::sse(sse)?).await
}

async fn call_all_tools(name: &str, mut client: DemoClient) -> anyhow::Result<()> {
    client.initialize().await?;
    let greeting = client.call("hello_mcp", json!({})).await?;
    anyhow::ensure!(greeting.contains("Hello"), "hello_mcp returned no greeting");
    let (key, text) = (format!("demo-{name}"), format!("said over {name}"));
    client
        .call(
            "save_snippet",
            json!({ "snippetname": key, "snippet": text }),
        )
        .await?;
    let kept = client
        .call("get_snippet", json!({ "snippetname": key }))
        .await?;
    anyhow::ensure!(
        kept.contains(&text),
        "get_snippet did not return the saved snippet"
    );
    client.end().await;
    Ok(())
}
