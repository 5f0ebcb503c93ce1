//! A sign-in that has started, for the task that runs it.
//!
//! Invariant: when the task ends, for whatever reason, the sign-in is no longer among the running
//! ones, and its callers get an outcome.

use std::sync::Arc;

use control::api::Problem;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::SignIns;
use super::outcome::{OngoingSignIn, SignInOutcome};
use super::pending::DeliveryPlan;
use crate::registry::Server;

/// A sign-in to be run.
pub(crate) struct StartedSignIn {
    pub(super) ongoing: OngoingSignIn,
    pub(super) plans: watch::Receiver<DeliveryPlan>,
    pub(super) cancel: CancellationToken,
    pub(super) guard: EndGuard,
}

impl StartedSignIn {
    /// Returns what callers wait for.
    pub(crate) fn ongoing(&self) -> OngoingSignIn {
        self.ongoing.clone()
    }

    /// Runs `attempt` with the delivery plans and the token that cancels it, and reports its result.
    pub(crate) async fn run<F>(
        self,
        attempt: impl FnOnce(watch::Receiver<DeliveryPlan>, CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), Problem>>,
    {
        let Self {
            plans,
            cancel,
            guard,
            ..
        } = self;
        let ended = attempt(plans, cancel).await;
        guard.finish(ended);
    }
}

/// Ends the sign-in without a result if it is dropped before [`Self::finish`].
pub(super) struct EndGuard {
    sign_ins: Arc<SignIns>,
    server: Arc<Server>,
    /// `None` after the end.
    outcome: Option<oneshot::Sender<SignInOutcome>>,
}

impl EndGuard {
    pub(super) fn new(
        sign_ins: &Arc<SignIns>,
        server: &Arc<Server>,
        outcome: oneshot::Sender<SignInOutcome>,
    ) -> Self {
        Self {
            sign_ins: Arc::clone(sign_ins),
            server: Arc::clone(server),
            outcome: Some(outcome),
        }
    }

    fn finish(mut self, ended: Result<(), Problem>) {
        let outcome = self.outcome.take();
        let pending = self.sign_ins.finish(&self.server, &ended);
        // Fails if no caller waits.
        let _ = outcome.map(|outcome| outcome.send(ended.into()));
        // Dropping it cancels the open elicitation. The outcome is known by then.
        drop(pending);
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else {
            return;
        };
        let pending = self.sign_ins.remove(&self.server.name);
        tracing::error!(server = %self.server.name, "the sign-in ended without a result");
        drop(outcome);
        drop(pending);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Begun, SignInOutcome, SignInTrigger, SignIns};
    use crate::notifications::Notifications;
    use crate::registry::Registry;

    /// Begins a sign-in whose task ends without a result. Returns its outcome, and what begins when
    /// the next call asks for a sign-in.
    async fn begin_after(end: impl AsyncFnOnce(super::StartedSignIn)) -> (SignInOutcome, Begun) {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new(folder.path().to_owned());
        let server = registry.named_or_at("https://a.example/mcp").unwrap();
        let sign_ins = Arc::new(SignIns::new(Notifications::default()));
        let begin = || sign_ins.begin(&server, SignInTrigger::ToolCall, None, 0, || false);
        let Begun::Started(started) = begin() else {
            panic!("it is the first one")
        };
        let ongoing = started.ongoing();
        assert!(matches!(begin(), Begun::Joined { .. }));
        end(started).await;
        (ongoing.outcome().await, begin())
    }

    #[tokio::test]
    async fn sign_in_starts_again_after_its_task_panicked() {
        let (outcome, next) = begin_after(async |started| {
            let attempt = started.run(|_, _| async { panic!("a mistake") });
            assert!(tokio::spawn(attempt).await.unwrap_err().is_panic());
        })
        .await;
        assert!(matches!(outcome, SignInOutcome::Dropped));
        assert!(matches!(next, Begun::Started(_)));
    }

    #[tokio::test]
    async fn sign_in_starts_again_after_its_task_was_aborted() {
        let (outcome, next) = begin_after(async |started| {
            let attempt = tokio::spawn(started.run(|_, _| std::future::pending()));
            attempt.abort();
            assert!(attempt.await.unwrap_err().is_cancelled());
        })
        .await;
        assert!(matches!(outcome, SignInOutcome::Dropped));
        assert!(matches!(next, Begun::Started(_)));
    }
}
