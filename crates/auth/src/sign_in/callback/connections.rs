//! The connections to the redirect listener: how many there are at once, how long each may take,
//! and which one gives way when there is no place for another.
//!
//! Any process of this machine can connect, so a place is never kept by doing nothing: the oldest
//! incomplete request gives way, one of another user's process before one of this user's. Other
//! users are not refused, because under WSL the relay of the browser is one. A request that is
//! complete and waits for its page keeps its place.
//!
//! Does not own: what is answered.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How many connections are served at once. A browser opens two or three, and up to six where it
/// expects to need them.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How long a request may take, from the connection to the last byte of its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take to read its page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is not complete, or not one that anything waits for.
    Incomplete,
    /// Its request is complete and waits for its page.
    Waiting,
    /// Its page is being sent.
    Answered,
}

/// The connections that are served, the oldest first. Dropping it closes all of them.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    open: Vec<Connection>,
}

struct Connection {
    task: AbortHandle,
    is_other_user: bool,
    stage: watch::Receiver<Stage>,
}

impl Connections {
    /// Serves another connection, for which the oldest incomplete request gives way if there is
    /// no place left. Drops it unserved if every other one waits for its page.
    pub(super) fn admit<S>(
        &mut self,
        is_other_user: bool,
        serve: impl FnOnce(watch::Sender<Stage>) -> S,
    ) where
        S: Future<Output = ()> + Send + 'static,
    {
        self.open.retain(|known| !known.task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS && !self.give_way() {
            return;
        }
        let (reached, stage) = watch::channel(Stage::Incomplete);
        let serve = serve(reached);
        let overdue = overdue(stage.clone());
        let task = self.tasks.spawn(async move {
            tokio::select! {
                () = serve => {}
                () = overdue => {}
            }
        });
        self.open.push(Connection {
            task,
            is_other_user,
            stage,
        });
    }

    /// Closes the connection with the oldest incomplete request, one of another user's process
    /// before one of this user's. Returns false if there is none.
    pub(super) fn give_way(&mut self) -> bool {
        let mut incomplete = self.open.iter().enumerate().filter(|(_, known)| {
            !known.task.is_finished() && *known.stage.borrow() == Stage::Incomplete
        });
        let Some((oldest, first)) = incomplete.next() else {
            return false;
        };
        let others = match first.is_other_user {
            true => None,
            false => incomplete.find(|(_, known)| known.is_other_user),
        };
        let victim = others.map_or(oldest, |(place, _)| place);
        self.open.remove(victim).task.abort();
        true
    }

    /// Waits for the end of a connection. Returns false if there is none.
    pub(super) async fn ended(&mut self) -> bool {
        self.tasks.join_next().await.is_some()
    }
}

/// Waits until a connection has taken longer than it may.
async fn overdue(mut stage: watch::Receiver<Stage>) {
    let complete = async {
        let complete = stage.wait_for(|stage| *stage != Stage::Incomplete);
        complete.await.is_ok()
    };
    let in_time = tokio::time::timeout(REQUEST_TIMEOUT, complete).await;
    if in_time != Ok(true) {
        return;
    }
    let _ = stage.wait_for(|stage| *stage == Stage::Answered).await;
    tokio::time::sleep(PAGE_TIMEOUT).await;
}
