//! Live sessions: the data that a request needs of one, in memory.
//!
//! Owns: finding a session without disk access, ending it everywhere at once, and refreshing its
//! tokens at Entra. Does not own: permissions.
//!
//! Invariant: a session that was ended here stays ended here, even if its row was being read at that
//! moment, because its end is remembered for longer than a reader holds a row. Code that removes a row
//! records the end, and must not be cancelled in between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use model::Clock;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::crypto::{KeyRing, Purpose};
use crate::identity_provider::{Entra, IdentityProviderError, Tokens};
use crate::scope::Scopes;
use crate::storage::{Seconds, Session, Store, StoreError};
use crate::user::User;

/// How long no attempt is made after a failure, so that requests do not queue for a provider that is
/// down.
const PAUSE: Seconds = 10;

/// A session that is live, or was until a moment ago.
pub(crate) struct LiveSession {
    pub(crate) id: String,
    pub(crate) user: User,
    pub(crate) client: String,
    pub(crate) server: model::ServerName,
    pub(crate) scopes: Scopes,
    /// Cancelled when it ends.
    ended: CancellationToken,
    /// Cancelled when its streams have to end: with the session, or with the gateway.
    pub(crate) cut: CancellationToken,
    provider_expires_at: AtomicU64,
    /// When Entra's tokens are to be refreshed.
    refresh_at: AtomicU64,
    /// When the next refresh may be tried.
    retry_at: AtomicU64,
    /// Locked during a refresh at Entra.
    refreshing: Mutex<()>,
}

/// Why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// It has ended: the user has to sign in again.
    #[error("the session has ended")]
    Ended,
    /// The gateway cannot check it now.
    #[error("the session cannot be confirmed at the moment: {0}")]
    Unavailable(String),
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::Unavailable(error.to_string())
    }
}

/// The sessions that were used or ended recently.
pub(crate) struct Sessions {
    entries: RwLock<HashMap<String, Entry>>,
    store: Store,
    entra: Arc<Entra>,
    keys: Arc<KeyRing>,
    clock: Clock,
    /// Tracks refreshes that outlive their request.
    tasks: TaskTracker,
    /// Cancelled when the gateway cuts streams.
    cut: CancellationToken,
}

enum Entry {
    Live(Arc<LiveSession>),
    Ended { at: Seconds },
}

impl Sessions {
    pub(crate) fn new(
        store: Store,
        entra: Arc<Entra>,
        keys: Arc<KeyRing>,
        clock: Clock,
        tasks: TaskTracker,
        cut: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            entries: RwLock::default(),
            store,
            entra,
            keys,
            clock,
            tasks,
            cut,
        })
    }

    fn now(&self) -> Seconds {
        self.clock.unix()
    }

    /// Finds a live session, in memory if it was used recently. Ends the session if the configuration
    /// does not allow its user any more.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<LiveSession>, SessionError> {
        let session = self.find_any(id).await?;
        if self.entra.admits(&session.user.tid) {
            return Ok(session);
        }
        tracing::info!(session = id, "a session ends: its tenant is not allowed");
        self.end(id).await?;
        Err(SessionError::Ended)
    }

    async fn find_any(&self, id: &str) -> Result<Arc<LiveSession>, SessionError> {
        if let Some(known) = self.known(id) {
            return known;
        }
        let stored = self.store.session(id, self.now()).await?;
        let live = Arc::new(LiveSession::new(
            stored.ok_or(SessionError::Ended)?,
            &self.cut,
        ));
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(id.to_owned()).or_insert(Entry::Live(live));
        entry.usable()
    }

    /// Ends a session for all further requests, for its streams, and in the store.
    pub(crate) async fn end(&self, id: &str) -> Result<(), StoreError> {
        self.record_end(id);
        self.store.end_session(id.to_owned()).await
    }

    /// Records the end of a session whose row is deleted.
    pub(crate) fn record_end(&self, id: &str) {
        let now = self.now();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.insert(id.to_owned(), Entry::Ended { at: now });
        if let Some(Entry::Live(live)) = before {
            live.ended.cancel();
            live.cut.cancel();
        }
    }

    /// Removes sessions that no request holds from memory. They are read again when needed. Code that
    /// must notice an end holds the session. Ends are remembered for `notes` seconds.
    pub(crate) fn forget_unused(&self, notes: Seconds) {
        let now = self.now();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| match entry {
            Entry::Live(live) => Arc::strong_count(live) > 1,
            Entry::Ended { at } => *at + notes > now,
        });
    }

    /// Checks that the sign-in of a session at Entra is still valid.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
    ) -> Result<(), SessionError> {
        session.confirm(self).await
    }

    /// Refreshes a session's tokens at Entra if they expire soon.
    pub(crate) async fn refresh_if_due(&self, session: &LiveSession) -> Result<(), SessionError> {
        session.refresh_if_due(self).await
    }

    fn known(&self, id: &str) -> Option<Result<Arc<LiveSession>, SessionError>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(id).map(Entry::usable)
    }
}

impl Entry {
    fn usable(&self) -> Result<Arc<LiveSession>, SessionError> {
        match self {
            Self::Live(live) => Ok(Arc::clone(live)),
            Self::Ended { .. } => Err(SessionError::Ended),
        }
    }
}

impl LiveSession {
    fn new(session: Session, cut: &CancellationToken) -> Self {
        Self {
            refresh_at: AtomicU64::new(session.provider_refresh_at),
            id: session.id,
            user: session.user,
            client: session.client,
            server: session.server,
            scopes: session.scopes,
            ended: CancellationToken::new(),
            cut: cut.child_token(),
            provider_expires_at: AtomicU64::new(session.provider_expires_at),
            retry_at: AtomicU64::new(0),
            refreshing: Mutex::new(()),
        }
    }

    /// Checks that the sign-in at Entra is still valid. Shortly before its tokens expire, they are
    /// refreshed in parallel with the request. After they have expired, the request waits for the
    /// refresh.
    async fn confirm(self: &Arc<Self>, sessions: &Arc<Sessions>) -> Result<(), SessionError> {
        let left = self.time_left(sessions.now());
        if left == 0 {
            return self.refresh_if_due(sessions).await;
        }
        let may = sessions.now() >= self.retry_at.load(Ordering::Acquire);
        if self.is_due(sessions.now()) && may && self.refreshing.try_lock().is_ok() {
            let (session, sessions) = (Arc::clone(self), Arc::clone(sessions));
            let tasks = sessions.tasks.clone();
            tasks.spawn(async move {
                if let Err(error) = session.refresh_if_due(&sessions).await {
                    tracing::warn!(session = session.id, %error, "the tokens of a sign-in were not refreshed");
                }
            });
        }
        Ok(())
    }

    /// Refreshes Entra's tokens if they expire soon. One caller does that, and the others wait.
    async fn refresh_if_due(&self, sessions: &Sessions) -> Result<(), SessionError> {
        let _single = self.refreshing.lock().await;
        if self.ended.is_cancelled() {
            return Err(SessionError::Ended);
        }
        if !self.is_due(sessions.now()) {
            return Ok(());
        }
        if sessions.now() < self.retry_at.load(Ordering::Acquire) {
            return self.not_refreshed(sessions, "a refresh failed a moment ago");
        }
        match self.refresh(sessions).await {
            Ok(()) => Ok(()),
            Err(_) if self.ended.is_cancelled() => Err(SessionError::Ended),
            Err(IdentityProviderError::Rejected(error)) => {
                self.close(sessions, &error.to_string()).await
            }
            Err(IdentityProviderError::Over) if self.time_left(sessions.now()) == 0 => {
                self.close(sessions, "there is no refresh token").await
            }
            Err(error) => {
                self.retry_at
                    .store(sessions.now() + PAUSE, Ordering::Release);
                self.not_refreshed(sessions, &error.to_string())
            }
        }
    }

    /// Returns `Ok` until the tokens that could not be refreshed expire.
    fn not_refreshed(&self, sessions: &Sessions, reason: &str) -> Result<(), SessionError> {
        if self.time_left(sessions.now()) > 0 {
            Ok(())
        } else {
            Err(SessionError::Unavailable(reason.to_owned()))
        }
    }

    async fn refresh(&self, sessions: &Sessions) -> Result<(), IdentityProviderError> {
        let store = |error: StoreError| IdentityProviderError::Unavailable(error.to_string());
        let stored = sessions
            .store
            .session(&self.id, sessions.now())
            .await
            .map_err(store)?;
        let Some(stored) = stored else {
            sessions.record_end(&self.id);
            return Err(IdentityProviderError::Over);
        };
        let tokens: Tokens = sessions
            .keys
            .open_json(Purpose::ProviderTokens, &stored.provider_tokens)
            .ok_or(IdentityProviderError::Over)?;
        let tokens = sessions.entra.refresh(&tokens).await.inspect_err(|error| {
            tracing::warn!(session = self.id, %error, "a refresh failed");
        })?;
        let sealed = sessions.keys.seal_json(Purpose::ProviderTokens, &tokens);
        let refresh_at = tokens.refresh_at(sessions.now());
        let kept = sessions
            .store
            .keep_provider_tokens(self.id.clone(), sealed, (tokens.expires_at, refresh_at))
            .await;
        kept.map_err(store)?
            .then_some(())
            .ok_or(IdentityProviderError::Over)?;
        self.provider_expires_at
            .store(tokens.expires_at, Ordering::Release);
        self.refresh_at.store(refresh_at, Ordering::Release);
        Ok(())
    }

    async fn close(&self, sessions: &Sessions, reason: &str) -> Result<(), SessionError> {
        tracing::info!(session = self.id, reason, "a session ends");
        sessions.end(&self.id).await?;
        Err(SessionError::Ended)
    }

    fn is_due(&self, now: Seconds) -> bool {
        now >= self.refresh_at.load(Ordering::Acquire)
    }

    fn time_left(&self, now: Seconds) -> Seconds {
        self.provider_expires_at
            .load(Ordering::Acquire)
            .saturating_sub(now)
    }
}
