//! The way to the bridge: keeps one running, follows its state, carries calls.
//!
//! The bridge outlives this app and may end without it (an upgrade, a crash, `kill`); then it is
//! started again and followed again. Only a quit is final, and that is the controller's.

use std::path::PathBuf;
use std::time::Duration;

use control::api::{Problem, ProblemKind, Reply, Request, State};
use control::start::{self, StartOptions};
use control::{CallError, Client, Home, Watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::event::{Event, Events};

/// How the app stands with the bridge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BridgeStatus {
    /// Not known yet.
    Starting,
    /// The bridge's last word.
    Connected(Box<State>),
    /// It cannot be seen.
    Lost(Problem),
    /// It runs, and does not react.
    Hung(Problem),
}

/// How long a bridge that went away may take to be followed by another, before this app starts
/// one: a newer one may be taking over.
const SUCCESSION: Duration = Duration::from_secs(3);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// Between two attempts to start a bridge; doubled after each that failed, up to the longest.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The bridge of one home, and the program that starts it.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub(crate) home: Home,
    pub(crate) program: PathBuf,
}

impl Bridge {
    /// Keeps a bridge running and tells of its state, until dropped.
    pub(crate) async fn follow(self, events: Events) {
        let mut wait = SHORTEST_WAIT;
        let mut first = true;
        loop {
            match self.attach(first).await {
                Ok(mut watch) => {
                    first = false;
                    wait = SHORTEST_WAIT;
                    let ended = relay(&mut watch, &events).await;
                    tracing::info!("the bridge went away: {ended}");
                    self.await_successor().await;
                }
                Err(event) => {
                    tracing::warn!(?event, "no bridge");
                    events.send(event);
                    sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Makes one call on a connection of its own.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Problem> {
        let mut client = self.connect().await.map_err(problem_of)?;
        client.call(request).await.map_err(problem_of)
    }

    /// Starts a bridge where none runs. The app's own start replaces one that is older than it;
    /// later ones do not, since by then the older one may be what was installed.
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

    /// Ends the bridge that does not react, and starts another one.
    pub(crate) async fn restart(&self) -> Result<(), Problem> {
        let restarted = start::replace_running(&self.home, &self.program).await;
        restarted.map_err(|why| Problem::from_text(ProblemKind::Unreachable, &why.to_string()))
    }

    async fn await_successor(&self) {
        let end = Instant::now() + SUCCESSION;
        while Instant::now() < end && self.connect().await.is_err() {
            sleep_until(end.min(Instant::now() + LOOK)).await;
        }
    }

    async fn connect(&self) -> Result<Client, CallError> {
        Client::connect(&self.home, env!("CARGO_PKG_VERSION"), true).await
    }
}

/// Passes states on until there are no more.
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

/// What it means that there is no connection to the bridge.
fn missing(error: CallError) -> Event {
    match error {
        CallError::Hung(_) => Event::BridgeHangs(problem_of(error)),
        CallError::NotRunning | CallError::Problem(_) | CallError::Broken(_) => {
            Event::BridgeLost(problem_of(error))
        }
    }
}

fn lost() -> Problem {
    Problem::new(ProblemKind::Unreachable, "The bridge ended")
        .with_hint("It is being started again; if it does not come up, look into its log.")
}

fn problem_of(error: CallError) -> Problem {
    match error {
        CallError::Problem(problem) => problem,
        other => Problem::from_text(ProblemKind::Unreachable, &other.to_string()),
    }
}
