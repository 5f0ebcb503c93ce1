//! `postern bridge`: in the foreground, detached, and the process between the two.

use std::process::Command;
use std::time::Duration;

use bridge::{DescriptorLimits, Options, ServeError};
use control::api::Request;
use control::hello::Version;
use control::socket::BindError;
use control::start::{self, Report};
use control::{CallError, Client};
use model::Clock;
use tokio::time::Instant;

use crate::cli::{BridgeArgs, Replace};
use crate::context::{Context, VERSION};
use crate::failure::Failure;
use crate::{descriptors, logging, signals};

/// How long the bridge that is replaced may take to finish what it owes.
const HANDOVER: Duration = Duration::from_secs(20);

/// How long the lock of a bridge that ends may be waited for.
const LAST_BREATH: Duration = bridge::LONGEST_END.saturating_add(Duration::from_secs(2));

pub(crate) fn run(args: &BridgeArgs, context: Context) -> Result<(), Failure> {
    context.outside_of_flatpak("bridge --detach")?;
    if args.detach {
        detach(args, &context)
    } else if args.detached {
        detached(args, context)
    } else {
        foreground(args, context)
    }
}

fn foreground(args: &BridgeArgs, context: Context) -> Result<(), Failure> {
    logging::to_stderr(context.environment.log.as_deref());
    let log = context.home.clone();
    let ready = move || tracing::info!(folder = %log.run_dir().display(), "the bridge listens");
    context
        .clone()
        .block_on_one_core(serve(args, context, &mut Some(ready)))
}

/// The process in the middle: see [`control::start`].
fn detach(args: &BridgeArgs, context: &Context) -> Result<(), Failure> {
    let mut command = Command::new(&context.program);
    command.args(["bridge", "--detached"]);
    if let Some(root) = context.home.root() {
        command.arg("--home").arg(root);
    }
    if let Some(seconds) = args.idle_exit {
        command.args(["--idle-exit", &seconds.to_string()]);
    }
    match args.replace {
        Some(Replace::Any) => drop(command.arg("--replace=any")),
        Some(Replace::Older) => drop(command.arg("--replace=older")),
        None => {}
    }
    Ok(start::detach(command, &context.home.log_file())?)
}

fn detached(args: &BridgeArgs, context: Context) -> Result<(), Failure> {
    let report = Report::owed();
    let log = context.home.log_file();
    if let Err(error) = logging::to_file(&log, context.environment.log.as_deref()) {
        report.failed(&format!(
            "the log {} cannot be written: {error}; hint: check who may write there and the free space",
            log.display()
        ));
        return Ok(());
    }
    let mut report = Some(report);
    let mut ready = Some(|| report.take().map_or((), Report::ready));
    let ended = context
        .clone()
        .block_on_one_core(serve(args, context, &mut ready));
    match (ended, report) {
        (Ok(()), Some(report)) => report.ready(),
        (Ok(()), None) => {}
        (Err(failure), Some(report)) => report.failed(&failure.to_string()),
        (Err(failure), None) => tracing::error!("{failure}"),
    }
    Ok(())
}

async fn serve(
    args: &BridgeArgs,
    context: Context,
    ready: &mut Option<impl FnOnce() + Send>,
) -> Result<(), Failure> {
    // What is wrong with it ends this bridge before the one that runs.
    let options = options(args, &context)?;
    if let Some(which) = args.replace {
        take_over(&context, which).await?;
    }
    let shutdown = signals::shutdown();
    let patience = Instant::now() + LAST_BREATH;
    loop {
        let call_ready = || ready.take().map_or((), |ready| ready());
        let ended = bridge::serve(options.clone(), call_ready, shutdown.clone()).await;
        let taken = matches!(ended, Err(ServeError::Sockets(BindError::Taken)));
        if taken && is_ending(&context, patience).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else if taken && args.detached {
            // Whoever wanted a bridge has one.
            return Ok(());
        } else {
            return Ok(ended?);
        }
    }
}

/// Whether the bridge that has the lock is on its way out, or up: it answers nobody.
async fn is_ending(context: &Context, patience: Instant) -> bool {
    let answer = tokio::time::timeout_at(patience, context.connect()).await;
    matches!(answer, Ok(Err(_))) && Instant::now() < patience
}

fn options(args: &BridgeArgs, context: &Context) -> Result<Options, Failure> {
    Ok(Options {
        home: context.home.clone(),
        version: VERSION.to_owned(),
        program: context.program.clone(),
        vault: context.environment.vault(&context.home)?,
        browser: context.environment.browser.clone(),
        surroundings: context.environment.surroundings(),
        clock: Clock::system(),
        idle_exit: args.idle_exit.map(Duration::from_secs),
        places: context.environment.places(),
        extra_roots: context.environment.extra_ca.clone(),
        descriptors: DescriptorLimits::from_limit(descriptors::limit()),
    })
}

/// Asks the bridge that runs to make room, and waits until it has.
async fn take_over(context: &Context, which: Replace) -> Result<(), Failure> {
    let mut client = match context.connect().await {
        Ok(client) => client,
        Err(CallError::NotRunning) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let is_older = Version::of(&client.welcome().version) < Version::of(VERSION);
    if which == Replace::Older && !is_older {
        return Ok(());
    }
    client.call(&Request::Yield).await?;
    tokio::time::timeout(HANDOVER, gone(client)).await.map_err(|_| {
        Failure::new(format_args!(
            "the bridge that runs did not end within {} seconds; hint: end it by hand, `postern status` shows its process",
            HANDOVER.as_secs()
        ))
    })
}

/// Returns when the other end of the connection is closed.
async fn gone(client: Client) {
    match client.watch().await {
        Ok(mut watch) => while watch.next().await.is_ok() {},
        Err(error) => shim::complain(error),
    }
}
