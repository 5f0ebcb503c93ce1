//! The sessions of legacy hosts over Streamable HTTP.
//!
//! Owns: their ids, and how long and how many are kept. Does not own: their messages
//! (`streamable`, `response_router`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use mcp::Message;
use mcp::memory::Account;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::response_router::ResponseRouter;

/// How long an unused session is kept, listed or not ([`Presence`](crate::session_registry::Presence)).
/// A host that comes back later gets a 404 and initializes again, as the specification requires.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The maximum of sessions. One more ends the session that was unused for longest, so that a host
/// that opens a session for each call uses bounded memory.
const MAX_SESSIONS: usize = 1024;

/// How often unused sessions are removed.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The sessions of legacy hosts, by id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// A session, as its endpoint sees it.
#[derive(Debug)]
pub(super) struct Session {
    server: String,
    pub(super) to: mpsc::Sender<Message>,
    pub(super) responses: Arc<ResponseRouter>,
    /// The memory of the host's messages.
    pub(super) memory: Account,
    used: Mutex<Instant>,
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the session of `server` with this id, and marks it as used.
    pub(super) fn find(&self, server: &str, id: &HeaderValue) -> Option<Arc<Session>> {
        let found = self
            .map()
            .get(id.to_str().ok()?)
            .filter(|session| session.server == server)
            .cloned()?;
        *found.used() = Instant::now();
        (!found.to.is_closed()).then_some(found)
    }

    /// Adds a session. Ends the one that was unused for longest if there are too many.
    pub(super) fn insert(&self, id: String, session: Session) {
        let mut map = self.map();
        if map.len() >= MAX_SESSIONS {
            let unused = map
                .iter()
                .filter(|(_, session)| !session.responses.in_use());
            let longest = unused.min_by_key(|(_, session)| session.used_at());
            if let Some(id) = longest.map(|(id, _)| id.clone()) {
                map.remove(&id);
            }
        }
        map.insert(id, Arc::new(session));
    }

    /// Ends a session at the request of its host.
    pub(super) fn remove(&self, id: &str) {
        self.map().remove(id);
    }

    /// Ends the sessions that their hosts have left, until the bridge ends.
    pub(super) async fn sweep_expired(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.map().retain(|_, session| session.is_kept());
        }
    }
}

impl Session {
    pub(super) fn new(
        server: String,
        to: mpsc::Sender<Message>,
        responses: Arc<ResponseRouter>,
        memory: Account,
    ) -> Self {
        Self {
            server,
            to,
            responses,
            memory,
            used: Mutex::new(Instant::now()),
        }
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_at(&self) -> Instant {
        *self.used()
    }

    fn is_kept(&self) -> bool {
        let mut used = self.used();
        if self.responses.in_use() {
            *used = Instant::now();
        }
        !self.to.is_closed() && used.elapsed() < SESSION_TIMEOUT
    }
}

/// Returns an unguessable id: twice 122 random bits.
pub(super) fn session_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::HeaderValue;
    use mcp::memory::Budget;
    use mcp::{Message, RequestId};
    use model::Clock;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::{MAX_SESSIONS, SESSION_TIMEOUT, SWEEP_INTERVAL, Session, Sessions};
    use crate::endpoint::response_router::ResponseRouter;
    use crate::notifications::Notifications;
    use crate::session_registry::Presence;

    fn responses() -> Arc<ResponseRouter> {
        let host = Presence::new(Clock::system(), Notifications::default());
        Arc::new(ResponseRouter::new(host))
    }

    /// Begins a session. Returns its id and the receiver of its messages.
    fn begin(
        sessions: &Sessions,
        responses: Arc<ResponseRouter>,
    ) -> (String, mpsc::Receiver<Message>) {
        let (to, host) = mpsc::channel(1);
        let session = Session {
            server: "one".to_owned(),
            to,
            responses,
            memory: Budget::default().account(),
            used: Mutex::new(Instant::now()),
        };
        let id = super::session_id();
        sessions.insert(id.clone(), session);
        (id, host)
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_unused_session_ends_beyond_limit() {
        let sessions = Sessions::default();
        let open = responses();
        let _stream = open.listen();
        let (_, mut open) = begin(&sessions, open);
        let (first, mut first_host) = begin(&sessions, responses());
        let (_, mut second_host) = begin(&sessions, responses());
        let mut others = Vec::new();
        while others.len() + 3 < MAX_SESSIONS {
            others.push(begin(&sessions, responses()));
        }
        tokio::time::advance(SWEEP_INTERVAL).await;
        let first = HeaderValue::try_from(first).unwrap();
        assert!(sessions.find("one", &first).is_some());
        tokio::time::advance(SWEEP_INTERVAL).await;
        for (id, _) in &others {
            let id = HeaderValue::try_from(id).unwrap();
            assert!(sessions.find("one", &id).is_some());
        }
        let _one_more = begin(&sessions, responses());
        assert!(second_host.recv().await.is_none(), "unused for longest");
        let _another = begin(&sessions, responses());
        assert!(first_host.recv().await.is_none());
        assert!(open.try_recv().is_err() && !open.is_closed(), "in use");
    }

    #[tokio::test(start_paused = true)]
    async fn unused_session_expires() {
        let sessions = Arc::new(Sessions::default());
        let (left, open) = (responses(), responses());
        // One host has dropped a response, the other has a stream open.
        drop(left.open(RequestId::number(1)));
        let _stream = open.listen();
        let [mut left, mut open] = [left, open].map(|responses| begin(&sessions, responses).1);
        let swept = Arc::clone(&sessions);
        tokio::spawn(async move { swept.sweep_expired().await });
        let begun = Instant::now();
        assert!(left.recv().await.is_none());
        assert!(
            begun.elapsed() >= SESSION_TIMEOUT
                && begun.elapsed() <= SESSION_TIMEOUT + SWEEP_INTERVAL
        );
        let ended = tokio::time::timeout(SESSION_TIMEOUT * 3, open.recv()).await;
        assert!(ended.is_err(), "its host has a stream open");
    }
}
