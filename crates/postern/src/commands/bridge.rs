//! `postern bridge`: in the foreground, detached, and the intermediate process that detaches it.

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

use super::return_free_memory;
use crate::cli::{BridgeArgs, Replace};
use crate::context::{Context, VERSION};
use crate::error::CliError;
use crate::{fd_limit, logging, signals};

/// How long the replaced bridge may take to answer its pending requests.
const YIELD_TIMEOUT: Duration = Duration::from_secs(20);

/// How long to wait for the lock of a bridge that is shutting down.
const LOCK_TIMEOUT: Duration = bridge::SHUTDOWN_TIMEOUT.saturating_add(Duration::from_secs(2));

pub(crate) fn run(args: &BridgeArgs, context: Context) -> Result<(), CliError> {
    context.refuse_in_flatpak("bridge --detach")?;
    if args.detach {
        detach(args, &context)
    } else if args.detached {
        detached(args, context)
    } else {
        foreground(args, context)
    }
}

fn foreground(args: &BridgeArgs, context: Context) -> Result<(), CliError> {
    logging::to_stderr(context.environment.log.as_deref());
    let log = context.home.clone();
    let ready = move || tracing::info!(folder = %log.run_dir().display(), "the bridge listens");
    context
        .clone()
        .block_on_one_core(serve(args, context, &mut Some(ready)))
}

/// Runs the intermediate process: see [`control::start`].
fn detach(args: &BridgeArgs, context: &Context) -> Result<(), CliError> {
    let mut command = Command::new(&context.program);
    command.args(["bridge", "--detached"]);
    if let Some(root) = context.home.root() {
        command.arg("--home").arg(root);
    }
    if let Some(seconds) = args.idle_timeout {
        command.args(["--idle-exit", &seconds.to_string()]);
    }
    match args.replace {
        Some(Replace::Any) => drop(command.arg("--replace=any")),
        Some(Replace::Older) => drop(command.arg("--replace=older")),
        None => {}
    }
    Ok(start::detach(command, &context.home.log_file())?)
}

fn detached(args: &BridgeArgs, context: Context) -> Result<(), CliError> {
    let report = Report::open();
    let log = context.home.log_file();
    if let Err(error) = logging::to_file(&log, context.environment.log.as_deref()) {
        report.failed(&format!(
            "the log {} cannot be written: {error}; hint: check the permissions and the free disk space",
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
) -> Result<(), CliError> {
    // Invalid options must end this process before it replaces the running bridge.
    let options = options(args, &context)?;
    if let Some(which) = args.replace {
        take_over(&context, which).await?;
    }
    shim::limit_free_memory();
    tokio::spawn(return_free_memory());
    let shutdown = signals::shutdown();
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let call_ready = || ready.take().map_or((), |ready| ready());
        let ended = bridge::serve(options.clone(), call_ready, shutdown.clone()).await;
        if !matches!(ended, Err(ServeError::Sockets(BindError::InUse))) {
            return Ok(ended?);
        }
        match lock_holder(&context, deadline).await {
            LockHolder::InTransition => tokio::time::sleep(Duration::from_millis(20)).await,
            LockHolder::Hung(hung) => return Err(hung.into()),
            // The caller wants a running bridge, and there is one.
            LockHolder::Serving if args.detached => return Ok(()),
            LockHolder::Serving => return Ok(ended?),
        }
    }
}

/// The state of the bridge that holds the lock.
enum LockHolder {
    /// It is starting or shutting down, and serves no client.
    InTransition,
    /// It does not respond.
    Hung(CallError),
    /// It serves clients, or takes too long to shut down.
    Serving,
}

async fn lock_holder(context: &Context, deadline: Instant) -> LockHolder {
    match tokio::time::timeout_at(deadline, context.connect()).await {
        Ok(Err(hung @ CallError::Hung(_))) => LockHolder::Hung(hung),
        Ok(Err(_)) if Instant::now() < deadline => LockHolder::InTransition,
        Ok(_) | Err(_) => LockHolder::Serving,
    }
}

fn options(args: &BridgeArgs, context: &Context) -> Result<Options, CliError> {
    Ok(Options {
        home: context.home.clone(),
        version: VERSION.to_owned(),
        program: context.program.clone(),
        vault: context.environment.vault(&context.home)?,
        browser: context.environment.browser.clone(),
        browser_availability: context.environment.surroundings(),
        clock: Clock::system(),
        idle_exit: args.idle_timeout.map(Duration::from_secs),
        places: context.environment.places(),
        extra_roots: context.environment.extra_ca.clone(),
        descriptors: DescriptorLimits::from_limit(fd_limit::limit()),
    })
}

/// Asks the running bridge to yield. With [`Replace::Any`], which a user asked for, kills a bridge
/// that does not. A shim or the desktop app does not kill it: a stuck bridge looks the same as one
/// in a debugger or on an overloaded machine.
async fn take_over(context: &Context, which: Replace) -> Result<(), CliError> {
    match (request_yield(context, which).await?, which) {
        (YieldOutcome::Free, Replace::Any | Replace::Older) => Ok(()),
        (YieldOutcome::Stuck(why), Replace::Older) => Err(why),
        (YieldOutcome::Stuck(why), Replace::Any) => {
            tracing::warn!("{}; it is killed", why.message());
            if let Some(pid) = control::end(&context.home).await? {
                tracing::warn!(pid, "killed the bridge that did not respond");
            }
            Ok(())
        }
    }
}

/// The outcome of asking the running bridge to yield.
enum YieldOutcome {
    /// It has ended, none runs, or it is not to be replaced.
    Free,
    /// It does not respond, or does not end.
    Stuck(CliError),
}

/// Asks the running bridge to yield to this one, and waits until it has ended.
async fn request_yield(context: &Context, which: Replace) -> Result<YieldOutcome, CliError> {
    let mut client = match context.connect().await {
        Ok(client) => client,
        Err(CallError::NotRunning) => return Ok(YieldOutcome::Free),
        Err(hung @ CallError::Hung(_)) => return Ok(YieldOutcome::Stuck(hung.into())),
        Err(error) => return Err(error.into()),
    };
    let is_older = Version::parse(&client.welcome().version) < Version::parse(VERSION);
    if which == Replace::Older && !is_older {
        return Ok(YieldOutcome::Free);
    }
    match client.call(&Request::Yield).await {
        Ok(_) => {}
        Err(hung @ CallError::Hung(_)) => return Ok(YieldOutcome::Stuck(hung.into())),
        Err(error) => return Err(error.into()),
    }
    let pid = client.welcome().pid;
    Ok(
        match tokio::time::timeout(YIELD_TIMEOUT, closed(client)).await {
            Ok(()) => YieldOutcome::Free,
            Err(_) => YieldOutcome::Stuck(CliError::new(format_args!(
                "the running bridge (process {pid}) did not end within {} seconds; hint: replace it with `postern bridge --replace --detach`",
                YIELD_TIMEOUT.as_secs()
            ))),
        },
    )
}

/// Waits until the bridge closes the connection.
async fn closed(client: Client) {
    match client.watch().await {
        Ok(mut watch) => while let Ok(_) | Err(CallError::Hung(_)) = watch.next().await {},
        Err(error) => shim::print_error(error),
    }
}
