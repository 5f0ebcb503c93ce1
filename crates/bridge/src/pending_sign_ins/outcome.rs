//! How a sign-in ends, and waiting for that.

use control::api::Problem;
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How a sign-in ended.
#[derive(Clone, Debug)]
pub(crate) enum SignInOutcome {
    /// An account is signed in.
    SignedIn,
    /// It ended without an account.
    Failed(Problem),
    /// Its task ended without a result.
    Dropped,
}

impl SignInOutcome {
    /// Converts the outcome to a result. `dropped` describes a sign-in without a result.
    pub(crate) fn into_result(self, dropped: impl FnOnce() -> Problem) -> Result<(), Problem> {
        match self {
            Self::SignedIn => Ok(()),
            Self::Failed(problem) => Err(problem),
            Self::Dropped => Err(dropped()),
        }
    }
}

impl From<Result<(), Problem>> for SignInOutcome {
    fn from(ended: Result<(), Problem>) -> Self {
        match ended {
            Ok(()) => Self::SignedIn,
            Err(problem) => Self::Failed(problem),
        }
    }
}

/// A running sign-in, for those who wait for its outcome.
#[derive(Clone, Debug)]
pub(crate) struct OngoingSignIn {
    /// When it began.
    pub(crate) since: Instant,
    outcome: Shared<oneshot::Receiver<SignInOutcome>>,
}

impl OngoingSignIn {
    /// Creates a sign-in that begins now. Returns it with the sender of its outcome.
    pub(super) fn start() -> (Self, oneshot::Sender<SignInOutcome>) {
        let (sender, receiver) = oneshot::channel();
        let ongoing = Self {
            since: Instant::now(),
            outcome: receiver.shared(),
        };
        (ongoing, sender)
    }

    /// Waits until the sign-in has ended.
    pub(crate) async fn outcome(&self) -> SignInOutcome {
        let sent = self.outcome.clone().await;
        sent.unwrap_or(SignInOutcome::Dropped)
    }

    /// Returns the outcome. Returns `None` if the sign-in is running.
    pub(crate) fn known_outcome(&self) -> Option<SignInOutcome> {
        self.outcome().now_or_never()
    }
}
