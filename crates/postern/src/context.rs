//! The state that all commands share: the bridge's folders, and how to reach or start the bridge.

use std::future::Future;
use std::path::PathBuf;

use control::api::{Reply, Request, State};
use control::hello::Version;
use control::start::{StartOptions, ensure_running};
use control::{CallError, Client, Home};
use tokio::runtime::Builder;

use crate::environment::Environment;
use crate::error::CliError;
use crate::{exe_path, fd_limit};

/// This program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The context of one command.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) environment: Environment,
    pub(crate) home: Home,
    /// The stable path of this program.
    pub(crate) program: PathBuf,
}

impl Context {
    pub(crate) fn new(environment: Environment, home: Option<PathBuf>) -> Result<Self, CliError> {
        let home = environment.home(home)?;
        let argv0 = std::env::args_os().next();
        let program = exe_path::stable_path(argv0.as_deref(), environment.search_path()).map_err(
            |error| {
                CliError::new(format_args!(
                    "cannot determine the path of this program: {error}"
                ))
            },
        )?;
        Ok(Self {
            environment,
            home,
            program,
        })
    }

    /// Runs a command on a single-threaded runtime.
    pub(crate) fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::new)?;
        let result = runtime.block_on(work);
        // A blocked read from the terminal must not delay the exit.
        runtime.shutdown_background();
        result
    }

    /// Runs a server on all cores, with a raised limit on open connections.
    pub(crate) fn block_on_all_cores<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        serve(Builder::new_multi_thread(), work)
    }

    /// Runs a server that relays much and computes little. With a second thread, each message would
    /// wake a thread that finds nothing to do, which costs more than the message.
    pub(crate) fn block_on_one_core<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1);
        serve(builder, work)
    }

    /// Returns an error inside of a Flatpak, where the bridge can neither run nor be reached.
    /// `arguments` are this program's, for the hint.
    pub(crate) fn refuse_in_flatpak(&self, arguments: &str) -> Result<(), CliError> {
        match &self.environment.flatpak {
            Some(flatpak) => Err(flatpak.error(&self.program, arguments)),
            None => Ok(()),
        }
    }

    /// Connects to the running bridge.
    pub(crate) async fn connect(&self) -> Result<Client, CallError> {
        Client::connect(&self.home, VERSION, false).await
    }

    /// Connects to the bridge. Starts one if none runs, and replaces an older one.
    pub(crate) async fn bridge(&self) -> Result<Client, CliError> {
        self.refuse_in_flatpak("…")?;
        let replace_older = match self.connect().await {
            Ok(client) if Version::parse(&client.welcome().version) >= Version::parse(VERSION) => {
                return Ok(client);
            }
            Ok(_) => true,
            Err(CallError::NotRunning) => false,
            Err(error) => return Err(error.into()),
        };
        let options = StartOptions {
            idle_exit: Some(shim::IDLE_TIMEOUT),
            replace_older,
        };
        ensure_running(&self.home, &self.program, &options).await?;
        Ok(self.connect().await?)
    }

    /// Sends one request to the bridge and returns the reply.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, CliError> {
        Ok(self.bridge().await?.call(request).await?)
    }

    /// Returns the bridge's current state.
    pub(crate) async fn state(&self) -> Result<State, CliError> {
        match self.call(&Request::Status).await? {
            Reply::State(state) => Ok(*state),
            other => Err(unexpected(&other)),
        }
    }
}

fn serve<T>(
    mut builder: Builder,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    fd_limit::raise_limit();
    let runtime = builder.enable_all().build().map_err(CliError::new)?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Returns the error for a reply that does not match its request, which only a bridge of another
/// version sends.
pub(crate) fn unexpected(reply: &Reply) -> CliError {
    let text = serde_json::to_string(reply).unwrap_or_default();
    let start: String = text.chars().take(60).collect();
    CliError::new(format_args!(
        "unexpected reply from the bridge ({start}…); hint: restart it with `postern bridge --replace --detach`"
    ))
}
