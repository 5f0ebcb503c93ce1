//! The connection to the bridge: keeps one running, follows its state, sends calls.
//!
//! The bridge outlives this app and may end without it (an upgrade, a crash, `kill`). It is then
//! started and followed again. The controller stops this when the user quits.

use std::path::PathBuf;
use std::time::Duration;

use control::api::{Problem, ProblemKind, Reply, Request, State};
use control::start::{self, StartOptions};
use control::{CallError, Client, Home, Watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::event::{Event, Events};

/// The bridge as the app sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BridgeStatus {
    /// Not known yet.
    Starting,
    /// The last state of the bridge.
    Connected(Box<State>),
    /// No connection.
    Lost(Problem),
    /// The bridge runs but does not respond.
    Hung(Problem),
}

/// How long to wait for another bridge after one ended, before this app starts one: a newer one may
/// be replacing it.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(3);
/// The interval of the connection attempts meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The wait between two attempts to start a bridge. It doubles after each failure up to the
/// maximum.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The bridge of one home, and the program that starts it.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub(crate) home: Home,
    pub(crate) program: PathBuf,
}

impl Bridge {
    /// Keeps a bridge running and sends its states as events, until dropped.
    pub(crate) async fn follow(self, events: Events) {
        let mut wait = MIN_BACKOFF;
        let mut first = true;
        loop {
            match self.attach(first).await {
                Ok(mut watch) => {
                    first = false;
                    wait = MIN_BACKOFF;
                    let ended = relay(&mut watch, &events).await;
                    tracing::info!("the bridge ended: {ended}");
                    self.await_successor().await;
                }
                Err(event) => {
                    tracing::warn!(?event, "no connection to the bridge");
                    events.send(event);
                    sleep(wait).await;
                    wait = (wait * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Makes one call on its own connection.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Problem> {
        let mut client = self.connect().await.map_err(problem_of)?;
        client.call(request).await.map_err(problem_of)
    }

    /// Starts a bridge if none runs. The first start of the app replaces an older bridge. Later
    /// starts do not, because the older one may have been installed since.
    async fn attach(&self, replace_older: bool) -> Result<Watch, Event> {
        let options = StartOptions {
            idle_exit: None,
            replace_older,
        };
        let started = start::ensure_running(&self.home, &self.program, &options).await;
        let client = match (self.connect().await, started) {
            (Ok(client), _) => client,
            (Err(hung @ CallError::Hung(_)), _) => return Err(missing(hung)),
            (Err(_), Err(why)) => {
                let why = Problem::from_text(ProblemKind::Unreachable, &why.to_string());
                return Err(Event::BridgeLost(why));
            }
            (Err(why), Ok(())) => return Err(missing(why)),
        };
        client.watch().await.map_err(missing)
    }

    /// Ends the bridge that does not respond, and starts another one.
    pub(crate) async fn restart(&self) -> Result<(), Problem> {
        let restarted = start::replace_running(&self.home, &self.program).await;
        restarted.map_err(|why| Problem::from_text(ProblemKind::Unreachable, &why.to_string()))
    }

    async fn await_successor(&self) {
        let end = Instant::now() + SUCCESSOR_TIMEOUT;
        while Instant::now() < end && self.connect().await.is_err() {
            sleep_until(end.min(Instant::now() + POLL_INTERVAL)).await;
        }
    }

    async fn connect(&self) -> Result<Client, CallError> {
        Client::connect(&self.home, env!("CARGO_PKG_VERSION"), true).await
    }
}

/// Sends states as events until the connection ends.
async fn relay(watch: &mut Watch, events: &Events) -> String {
    loop {
        match watch.next().await {
            Ok(state) => events.send(Event::StateChanged(Box::new(state))),
            Err(hung @ CallError::Hung(_)) => {
                let ended = hung.to_string();
                events.send(missing(hung));
                return ended;
            }
            Err(ended) => {
                events.send(Event::BridgeLost(lost()));
                return ended.to_string();
            }
        }
    }
}

/// Returns the event for a missing connection.
fn missing(error: CallError) -> Event {
    match error {
        CallError::Hung(_) => Event::BridgeHangs(problem_of(error)),
        CallError::NotRunning | CallError::Problem(_) | CallError::Broken(_) => {
            Event::BridgeLost(problem_of(error))
        }
    }
}

fn lost() -> Problem {
    Problem::new(ProblemKind::Unreachable, "The background service ended")
        .with_hint("Wait for the restart. If it fails, check the log.")
}

fn problem_of(error: CallError) -> Problem {
    match error {
        CallError::Problem(problem) => problem,
        other => Problem::from_text(ProblemKind::Unreachable, &other.to_string()),
    }
}
