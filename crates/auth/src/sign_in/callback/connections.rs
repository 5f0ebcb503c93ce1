//! The connections to the callback listener: their limit, their timeouts, and which one is closed
//! for a new one.
//!
//! Any process of this machine can connect, so an idle connection never blocks others. The oldest
//! incomplete request is closed first, one of another user's process before one of this user's.
//! Other users are not rejected, because under WSL the browser's relay is one. A complete request
//! that waits for its page is never closed.
//!
//! Does not own: the responses.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The maximum number of connections. A browser opens two or three, and up to six if it expects to
/// need them.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// The timeout of a request, from the connection to the last byte of its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout for reading a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is not complete, or belongs to no sign-in.
    Incomplete,
    /// Its request is complete and waits for its page.
    Waiting,
    /// Its page is being sent.
    Answered,
}

/// The open connections, the oldest first. Dropping it closes all of them.
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
    /// Serves another connection. If the limit is reached, closes the oldest incomplete request,
    /// or drops the new connection if all others wait for their page.
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

    /// Waits until a connection ends. Returns false if there is none.
    pub(super) async fn ended(&mut self) -> bool {
        self.tasks.join_next().await.is_some()
    }
}

/// Waits until a connection has timed out.
async fn overdue(mut stage: watch::Receiver<Stage>) {
    let complete = async {
        let complete = stage.wait_for(|stage| *stage != Stage::Incomplete);
        complete.await.is_ok()
    };
    let completed = tokio::time::timeout(REQUEST_TIMEOUT, complete).await;
    if completed != Ok(true) {
        return;
    }
    let _ = stage.wait_for(|stage| *stage == Stage::Answered).await;
    tokio::time::sleep(PAGE_TIMEOUT).await;
}
