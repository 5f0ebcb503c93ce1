//! `postern demo`: the whole line on this machine, with nothing to set up.
//!
//! Owns: starting the world ([`world`]), signing in by script ([`browser`]), and showing a tool
//! call on every face ([`face`]). Does not own: anything that a user's installation has; what it
//! starts are the programs that others run, with their ordinary configuration files.

pub(crate) mod browser;
mod face;
mod files;
mod form;
mod world;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use control::api::{Reply, Request, SignInWay, State};
use serde_json::json;
use tokio::process::Command;

use crate::cli::DemoArgs;
use crate::commands::sign_in::show_page;
use crate::context::Context;
use crate::failure::Failure;
use crate::{logging, signals, terminal};
use face::Face;
use world::World;

/// How long the scripted sign-in may take.
const SIGN_IN: Duration = Duration::from_secs(60);

/// Starts the world and shows it, or lets a person try it.
pub(crate) fn run(args: &DemoArgs, context: &Context) -> Result<(), Failure> {
    let quiet = context.environment.log.as_deref().unwrap_or("warn");
    logging::to_stderr(Some(quiet));
    context.block_on_all_cores(async {
        let scripted = args.scripted || !context.environment.has_display;
        let (world, mut parts) = World::start(args, context, scripted).await?;
        terminal::say(world.announcement());
        let stop = signals::shutdown();
        let shown = tokio::select! {
            shown = show(args, scripted, &world, context) => shown,
            ended = parts.ended() => ended,
            () = stop.cancelled() => Ok(()),
        };
        world.end(parts).await;
        Ok(shown?)
    })
}

async fn show(
    args: &DemoArgs,
    scripted: bool,
    world: &World,
    context: &Context,
) -> anyhow::Result<()> {
    if scripted {
        sign_in(world).await?;
        transcript(world, context).await?;
        if !args.keep {
            return Ok(());
        }
    }
    terminal::say(world.suggestions(context));
    match &args.app {
        Some(app) => until_the_app_ends(app, world).await,
        None => std::future::pending().await,
    }
}

async fn until_the_app_ends(app: &Path, world: &World) -> anyhow::Result<()> {
    let mut command = Command::new(app);
    command.arg("--home").arg(world.folder()).kill_on_drop(true);
    world.surroundings(&mut command);
    let mut child = command
        .spawn()
        .with_context(|| format!("{} cannot be started", app.display()))?;
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "the app ended with {status}");
    Ok(())
}

async fn sign_in(world: &World) -> anyhow::Result<()> {
    terminal::say(format_args!("\n$ postern sign-in {}", world::SERVER));
    let mut client = world.client().await?;
    let request = Request::SignIn {
        server: world::SERVER.to_owned(),
        way: SignInWay::Here,
    };
    let watching = world.client().await?;
    let signed_in = async {
        tokio::select! {
            reply = client.call(&request) => reply,
            never = show_page(watching, world::SERVER) => match never {},
        }
    };
    tokio::time::timeout(SIGN_IN, signed_in)
        .await
        .context("nobody signed in within a minute")??;
    let state = state(world).await?;
    let who = state
        .accounts
        .iter()
        .find_map(|account| account.username.as_deref().or(account.name.as_deref()));
    terminal::say(format_args!(
        "Signed in to {} as {}.",
        world::SERVER,
        who.unwrap_or("somebody")
    ));
    Ok(())
}

async fn state(world: &World) -> anyhow::Result<State> {
    match world.client().await?.call(&Request::Status).await? {
        Reply::State(state) => Ok(*state),
        other => anyhow::bail!("not a state: {other:?}"),
    }
}

/// The three tools over the three faces.
async fn transcript(world: &World, context: &Context) -> anyhow::Result<()> {
    let state = state(world).await?;
    let server = state
        .servers
        .iter()
        .find(|server| server.name == world::SERVER);
    let server = server.context("the bridge does not know the server")?;
    let http = server
        .endpoint
        .as_deref()
        .context("there is no HTTP endpoint")?;
    let sse = server
        .sse_endpoint
        .as_deref()
        .context("there is no SSE endpoint")?;

    terminal::say(format_args!("\nstdio: postern connect {}", world::SERVER));
    converse("stdio", Face::stdio(world, context)?).await?;
    terminal::say(format_args!("\nStreamable HTTP: {http}"));
    converse("http", Face::http(http)?).await?;
    terminal::say(format_args!("\nHTTP+SSE: {sse}"));
    converse("sse", Face::sse(sse)?).await
}

async fn converse(name: &str, mut face: Face) -> anyhow::Result<()> {
    face.shake_hands().await?;
    let greeting = face.call("hello_mcp", json!({})).await?;
    anyhow::ensure!(greeting.contains("Hello"), "that was no greeting");
    let (key, text) = (format!("demo-{name}"), format!("said over {name}"));
    face.call(
        "save_snippet",
        json!({ "snippetname": key, "snippet": text }),
    )
    .await?;
    let kept = face
        .call("get_snippet", json!({ "snippetname": key }))
        .await?;
    anyhow::ensure!(
        kept.contains(&text),
        "the snippet is not the one that was saved"
    );
    face.end().await;
    Ok(())
}
