//! A value that is fetched when it is needed, and shared by all callers.
//!
//! Owns: one fetch at a time for all callers, the old value during a fetch, and the memory of a
//! failure. Does not own: what is fetched, and how long it is valid.
//!
//! Invariants: no lock is held across an `await`. A caller waits only if there is no value that it
//! could use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Clock;
use tokio::sync::watch;

use super::error::IdentityProviderError;
use crate::storage::Seconds;

/// How long no fetch begins after a failure, if there is no value. Callers get the failure
/// immediately.
const PAUSE: Seconds = 10;

/// The same if there is an old value.
const PAUSE_WITH_VALUE: Seconds = 60;

/// The result of a fetch.
pub(super) struct New<T> {
    pub(super) value: T,
    /// When the value becomes stale. A stale value is used while a new one is fetched.
    pub(super) fresh_until: Seconds,
    /// When the value expires. An expired value is not used.
    pub(super) good_until: Seconds,
}

/// A value, or none yet.
pub(super) struct Fetched<T> {
    /// The name of the value, for the log.
    name: &'static str,
    state: Arc<Mutex<State<T>>>,
}

type Outcome<T> = Result<Arc<T>, IdentityProviderError>;

struct State<T> {
    value: Option<New<Arc<T>>>,
    failure: Option<Failure>,
    /// When the last fetch began.
    tried_at: Option<Seconds>,
    /// Receives the outcome of the pending fetch.
    running: Option<watch::Receiver<Option<Outcome<T>>>>,
}

/// The last fetch failed.
struct Failure {
    error: IdentityProviderError,
    /// No fetch begins before this time.
    until: Seconds,
}

impl<T: Send + Sync + 'static> Fetched<T> {
    /// Creates an empty value and fetches nothing. `name` is for the log.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            state: Arc::new(Mutex::new(State {
                value: None,
                failure: None,
                tried_at: None,
                running: None,
            })),
        }
    }

    /// Returns the stored value if it is valid, and otherwise what `fetch` returns. If the value is
    /// stale, returns it at once and fetches a new one meanwhile.
    ///
    /// # Errors
    ///
    /// If there is no valid value and the fetch fails, or failed a moment ago.
    pub(super) async fn get<F>(&self, clock: &Clock, fetch: impl FnOnce() -> F) -> Outcome<T>
    where
        F: Future<Output = Result<New<T>, IdentityProviderError>> + Send + 'static,
    {
        let now = clock.unix();
        let running = {
            let mut state = lock(&self.state);
            let kept = state.value.as_ref().filter(|kept| now < kept.good_until);
            let is_fresh = kept.is_some_and(|kept| now < kept.fresh_until);
            let good = kept.map(|kept| Arc::clone(&kept.value));
            let failure = state.failure.as_ref().filter(|failed| now < failed.until);
            match (good, failure) {
                (Some(good), _) if is_fresh => return Ok(good),
                (Some(good), Some(_)) => return Ok(good),
                (None, Some(failed)) => return Err(failed.error.clone()),
                (Some(good), None) => {
                    self.join(&mut state, clock, fetch);
                    return Ok(good);
                }
                (None, None) => self.join(&mut state, clock, fetch),
            }
        };
        outcome(running).await
    }

    /// Returns a value other than `old`: the stored one, or what `fetch` returns. Returns `old` itself
    /// if the last fetch began less than `between` seconds ago.
    ///
    /// # Errors
    ///
    /// If the fetch fails.
    pub(super) async fn newer<F>(
        &self,
        old: Arc<T>,
        between: Seconds,
        clock: &Clock,
        fetch: impl FnOnce() -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<New<T>, IdentityProviderError>> + Send + 'static,
    {
        let running = {
            let mut state = lock(&self.state);
            match &state.value {
                Some(kept) if !Arc::ptr_eq(&kept.value, &old) => {
                    return Ok(Arc::clone(&kept.value));
                }
                _ => {}
            }
            let is_running = is_running(&state);
            let tried_at = state.tried_at.unwrap_or_default();
            if !is_running && clock.unix() < tried_at.saturating_add(between) {
                return Ok(old);
            }
            self.join(&mut state, clock, fetch)
        };
        outcome(running).await
    }

    /// Joins the pending fetch, or begins one. A fetch runs to its end, even if no caller waits for it
    /// any more.
    fn join<F>(
        &self,
        state: &mut State<T>,
        clock: &Clock,
        fetch: impl FnOnce() -> F,
    ) -> watch::Receiver<Option<Outcome<T>>>
    where
        F: Future<Output = Result<New<T>, IdentityProviderError>> + Send + 'static,
    {
        if let Some(running) = state.running.as_ref().filter(|_| is_running(state)) {
            return running.clone();
        }
        let (done, running) = watch::channel(None);
        state.running = Some(running.clone());
        state.tried_at = Some(clock.unix());
        let (shared, clock, name) = (Arc::clone(&self.state), clock.clone(), self.name);
        let fetch = fetch();
        tokio::spawn(async move {
            let fetched = fetch.await;
            let outcome = lock(&shared).end(fetched, clock.unix(), name);
            done.send_replace(Some(outcome));
        });
        running
    }
}

impl<T> State<T> {
    fn end(
        &mut self,
        fetched: Result<New<T>, IdentityProviderError>,
        now: Seconds,
        name: &str,
    ) -> Outcome<T> {
        self.running = None;
        match fetched {
            Ok(new) => {
                let value = Arc::new(new.value);
                self.failure = None;
                self.value = Some(New {
                    value: Arc::clone(&value),
                    fresh_until: new.fresh_until,
                    good_until: new.good_until,
                });
                Ok(value)
            }
            Err(error) => {
                let good_until = self.value.as_ref().map(|kept| kept.good_until);
                let good_until = good_until.filter(|good_until| now < *good_until);
                let until = match good_until {
                    Some(good_until) => good_until.min(now.saturating_add(PAUSE_WITH_VALUE)),
                    None => now.saturating_add(PAUSE),
                };
                let has_value = good_until.is_some();
                tracing::warn!(%error, has_value, "cannot fetch the {name}");
                self.failure = Some(Failure {
                    error: error.clone(),
                    until,
                });
                Err(error)
            }
        }
    }
}

/// Returns true if a fetch is pending. A fetch that panicked is not.
fn is_running<T>(state: &State<T>) -> bool {
    let running = state.running.as_ref();
    running.is_some_and(|running| running.has_changed().is_ok())
}

async fn outcome<T>(mut running: watch::Receiver<Option<Outcome<T>>>) -> Outcome<T> {
    let done = running.wait_for(Option::is_some).await;
    let outcome = done.ok().and_then(|outcome| outcome.clone());
    outcome.unwrap_or_else(|| {
        Err(IdentityProviderError::Unavailable(
            "the fetch broke off".to_owned(),
        ))
    })
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, SystemTime};

    use model::ManualClock;
    use tokio::sync::oneshot;

    use super::*;

    fn clock() -> ManualClock {
        ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1000))
    }

    fn new(value: u32) -> New<u32> {
        New {
            value,
            fresh_until: 1100,
            good_until: 1200,
        }
    }

    fn failure() -> IdentityProviderError {
        IdentityProviderError::Unavailable("down".to_owned())
    }

    async fn brings(
        result: Result<New<u32>, IdentityProviderError>,
    ) -> Result<New<u32>, IdentityProviderError> {
        result
    }

    async fn never() -> Result<New<u32>, IdentityProviderError> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn fetch_serves_all_callers_and_outlives_first_one() {
        let (fetched, clock) = (Arc::new(Fetched::new("value")), clock().clock());
        let begun = AtomicU32::new(0);
        let (answer, answered) = oneshot::channel();
        let fetch = || {
            begun.fetch_add(1, Ordering::Relaxed);
            async move { answered.await.map_err(|_| failure()) }
        };
        {
            let mut first = std::pin::pin!(fetched.get(&clock, fetch));
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(first.as_mut().poll(context).is_pending())
            });
            assert!(polled.await, "it waits");
        }
        let others = (0..10).map(|_| {
            let (fetched, clock) = (Arc::clone(&fetched), clock.clone());
            tokio::spawn(async move { fetched.get(&clock, never).await })
        });
        let others: Vec<_> = others.collect();
        tokio::task::yield_now().await;
        answer.send(new(7)).ok().expect("it runs");
        for other in others {
            assert_eq!(*other.await.unwrap().unwrap(), 7);
        }
        assert_eq!(begun.into_inner(), 1);
    }

    #[tokio::test]
    async fn stale_value_is_returned_during_fetch_until_it_expires() {
        let (fetched, time) = (Fetched::new("value"), clock());
        let clock = time.clock();
        let first = fetched.get(&clock, || brings(Ok(new(1)))).await;
        assert_eq!(*first.unwrap(), 1);
        time.advance(Duration::from_secs(150));
        for _ in 0..3 {
            assert_eq!(*fetched.get(&clock, never).await.unwrap(), 1);
        }
        time.advance(Duration::from_secs(50));
        let bad = tokio::time::timeout(Duration::from_millis(50), fetched.get(&clock, never));
        assert!(bad.await.is_err(), "it waits for the fetch that runs");
    }

    #[tokio::test]
    async fn failed_fetch_is_not_repeated_before_pause_ends() {
        let (fetched, time) = (Fetched::new("value"), clock());
        let clock = time.clock();
        let failed = fetched.get(&clock, || brings(Err(failure()))).await;
        assert!(failed.is_err());
        assert!(fetched.get(&clock, never).await.is_err(), "at once");
        time.advance(Duration::from_secs(PAUSE));
        let found = fetched.get(&clock, || brings(Ok(new(2)))).await;
        assert_eq!(*found.unwrap(), 2);
    }

    #[tokio::test]
    async fn panicking_fetch_fails_and_next_one_runs() {
        let (fetched, clock) = (Fetched::new("value"), clock().clock());
        let broken = async { panic!("as a defect would") };
        assert!(fetched.get(&clock, || broken).await.is_err());
        let found = fetched.get(&clock, || brings(Ok(new(3)))).await;
        assert_eq!(*found.unwrap(), 3);
    }

    #[tokio::test]
    async fn newer_value_is_fetched_once_per_interval() {
        let (fetched, time) = (Fetched::new("value"), clock());
        let clock = time.clock();
        let get = async || fetched.get(&clock, || brings(Ok(new(1)))).await.unwrap();
        let old = get().await;
        let same = fetched.newer(Arc::clone(&old), 30, &clock, never).await;
        assert_eq!(*same.unwrap(), 1, "fetched a moment ago");
        time.advance(Duration::from_secs(30));
        let next = || brings(Ok(new(2)));
        let newer = fetched.newer(Arc::clone(&old), 30, &clock, next).await;
        assert_eq!(*newer.unwrap(), 2);
        let newer = fetched.newer(old, 30, &clock, never).await;
        assert_eq!(*newer.unwrap(), 2, "another caller has it already");
    }
}
