//! Live sessions: what a request needs to know of one, kept in memory.
//!
//! Owns: finding a session without the disk, ending it everywhere at once, and keeping its
//! sign-in at Entra alive. Does not own: who may do what.
//!
//! Invariant: a session that was ended here stays ended here, even if its row was being read at
//! that moment: its end is noted for longer than a reader holds a row. Whoever removes a row notes
//! the end, and is not to be cancelled in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::crypto::Purpose;
use crate::oauth::Scopes;
use crate::person::Person;
use crate::storage::{Seconds, Session, StoreError};
use crate::upstream::{Tokens, UpstreamError};

/// How long after a failure nothing is tried, so that requests do not queue for a provider that
/// is down.
const PAUSE: Seconds = 10;

/// A session that is, or was until a moment ago, alive.
pub(crate) struct LiveSession {
    pub(crate) id: String,
    pub(crate) person: Person,
    pub(crate) client: String,
    pub(crate) server: model::ServerName,
    pub(crate) scopes: Scopes,
    /// Cancelled when it ends.
    ended: CancellationToken,
    /// Cancelled when its streams have to end: with it, or with the gateway.
    pub(crate) cut: CancellationToken,
    upstream_expires_at: AtomicU64,
    /// From when on Entra's tokens are renewed.
    renew_at: AtomicU64,
    /// When the next refresh may be tried.
    retry_at: AtomicU64,
    /// Held while refreshing at Entra.
    refreshing: Mutex<()>,
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lapse {
    /// It is over: sign in again.
    #[error("the session is over")]
    Ended,
    /// It may be good, but there is no way to tell now.
    #[error("the session cannot be confirmed at the moment: {0}")]
    Unavailable(String),
}

impl From<StoreError> for Lapse {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::Unavailable(error.to_string())
    }
}

/// The sessions that were used lately, and those that ended lately.
#[derive(Default)]
pub(crate) struct Sessions(RwLock<HashMap<String, Entry>>);

enum Entry {
    Live(Arc<LiveSession>),
    Ended { at: Seconds },
}

impl Sessions {
    /// Finds a live session, in memory if it was used lately. Ends one whose person the configuration
    /// does not admit any more.
    pub(crate) async fn find(&self, app: &App, id: &str) -> Result<Arc<LiveSession>, Lapse> {
        let session = self.find_any(app, id).await?;
        if app.entra.admits(&session.person.tid) {
            return Ok(session);
        }
        tracing::info!(session = id, "a session ends: its tenant is not admitted");
        self.end(app, id).await?;
        Err(Lapse::Ended)
    }

    async fn find_any(&self, app: &App, id: &str) -> Result<Arc<LiveSession>, Lapse> {
        if let Some(known) = self.known(id) {
            return known;
        }
        let stored = app.store.session(id, app.now()).await?;
        let live = Arc::new(LiveSession::new(
            stored.ok_or(Lapse::Ended)?,
            &app.drain.cut,
        ));
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id.to_owned()).or_insert(Entry::Live(live));
        entry.usable()
    }

    /// Ends a session: for every request from now on, for its streams, and in the store.
    pub(crate) async fn end(&self, app: &App, id: &str) -> Result<(), StoreError> {
        self.note_end(id, app.now());
        app.store.end_session(id.to_owned()).await
    }

    /// Notes the end of a session whose row is gone.
    pub(crate) fn note_end(&self, id: &str, now: Seconds) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.insert(id.to_owned(), Entry::Ended { at: now });
        if let Some(Entry::Live(live)) = before {
            live.ended.cancel();
            live.cut.cancel();
        }
    }

    /// Forgets what nobody holds; it is read again when needed. Whoever has to learn of an end
    /// has to hold the session. Ends are remembered for as long
    /// as `notes` seconds.
    pub(crate) fn forget_unused(&self, now: Seconds, notes: Seconds) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| match entry {
            Entry::Live(live) => Arc::strong_count(live) > 1,
            Entry::Ended { at } => *at + notes > now,
        });
    }

    fn known(&self, id: &str) -> Option<Result<Arc<LiveSession>, Lapse>> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(id).map(Entry::usable)
    }
}

impl Entry {
    fn usable(&self) -> Result<Arc<LiveSession>, Lapse> {
        match self {
            Self::Live(live) => Ok(Arc::clone(live)),
            Self::Ended { .. } => Err(Lapse::Ended),
        }
    }
}

impl LiveSession {
    fn new(session: Session, cut: &CancellationToken) -> Self {
        Self {
            renew_at: AtomicU64::new(session.upstream_renew_at),
            id: session.id,
            person: session.person,
            client: session.client,
            server: session.server,
            scopes: session.scopes,
            ended: CancellationToken::new(),
            cut: cut.child_token(),
            upstream_expires_at: AtomicU64::new(session.upstream_expires_at),
            retry_at: AtomicU64::new(0),
            refreshing: Mutex::new(()),
        }
    }

    /// Makes sure that the sign-in at Entra still holds. Shortly before its tokens expire they
    /// are renewed beside the request; once they have expired, the request waits for it.
    pub(crate) async fn confirm(self: &Arc<Self>, app: &Arc<App>) -> Result<(), Lapse> {
        let left = self.time_left(app.now());
        if left == 0 {
            return self.renew(app).await;
        }
        let may = app.now() >= self.retry_at.load(Ordering::Acquire);
        if self.is_due(app.now()) && may && self.refreshing.try_lock().is_ok() {
            let (session, app) = (Arc::clone(self), Arc::clone(app));
            let tasks = app.tasks.clone();
            tasks.spawn(async move {
                if let Err(error) = session.renew(&app).await {
                    tracing::warn!(session = session.id, %error, "a sign-in was not renewed");
                }
            });
        }
        Ok(())
    }

    /// Renews Entra's tokens if they are about to expire; one caller does, the others wait.
    pub(crate) async fn renew(&self, app: &App) -> Result<(), Lapse> {
        let _single = self.refreshing.lock().await;
        if self.ended.is_cancelled() {
            return Err(Lapse::Ended);
        }
        if !self.is_due(app.now()) {
            return Ok(());
        }
        if app.now() < self.retry_at.load(Ordering::Acquire) {
            return self.unrenewed(app, "a moment ago it could not be renewed");
        }
        match self.refresh(app).await {
            Ok(()) => Ok(()),
            Err(_) if self.ended.is_cancelled() => Err(Lapse::Ended),
            Err(UpstreamError::Rejected(error)) => self.close(app, &error.to_string()).await,
            Err(UpstreamError::Over) if self.time_left(app.now()) == 0 => {
                self.close(app, "there is nothing to renew it with").await
            }
            Err(error) => {
                self.retry_at.store(app.now() + PAUSE, Ordering::Release);
                self.unrenewed(app, &error.to_string())
            }
        }
    }

    /// What was not renewed holds until it expires.
    fn unrenewed(&self, app: &App, reason: &str) -> Result<(), Lapse> {
        if self.time_left(app.now()) > 0 {
            Ok(())
        } else {
            Err(Lapse::Unavailable(reason.to_owned()))
        }
    }

    async fn refresh(&self, app: &App) -> Result<(), UpstreamError> {
        let store = |error: StoreError| UpstreamError::Unavailable(error.to_string());
        let stored = app
            .store
            .session(&self.id, app.now())
            .await
            .map_err(store)?;
        let Some(stored) = stored else {
            app.sessions.note_end(&self.id, app.now());
            return Err(UpstreamError::Over);
        };
        let tokens: Tokens = app
            .keys
            .open_json(Purpose::UpstreamTokens, &stored.upstream)
            .ok_or(UpstreamError::Over)?;
        let tokens = app.entra.refresh(&tokens).await.inspect_err(|error| {
            tracing::warn!(session = self.id, %error, "a refresh failed");
        })?;
        let sealed = app.keys.seal_json(Purpose::UpstreamTokens, &tokens);
        let renew_at = tokens.renew_at(app.now());
        let kept = app
            .store
            .keep_upstream(self.id.clone(), sealed, (tokens.expires_at, renew_at))
            .await;
        kept.map_err(store)?
            .then_some(())
            .ok_or(UpstreamError::Over)?;
        self.upstream_expires_at
            .store(tokens.expires_at, Ordering::Release);
        self.renew_at.store(renew_at, Ordering::Release);
        Ok(())
    }

    async fn close(&self, app: &App, reason: &str) -> Result<(), Lapse> {
        tracing::info!(session = self.id, reason, "a session ends");
        app.sessions.end(app, &self.id).await?;
        Err(Lapse::Ended)
    }

    fn is_due(&self, now: Seconds) -> bool {
        now >= self.renew_at.load(Ordering::Acquire)
    }

    fn time_left(&self, now: Seconds) -> Seconds {
        self.upstream_expires_at
            .load(Ordering::Acquire)
            .saturating_sub(now)
    }
}
