//! Whether a server that answers 401 offers a sign-in at all. API keys are refused the same way.
//!
//! Invariant: nothing is registered, and no sign-in starts.

use ::http::StatusCode;

use super::{Challenge, Discovery, KNOCK, Proof};
use crate::error::SignInError;

impl Discovery<'_> {
    /// Returns whether the server that answered 401 with this challenge, or anything at its origin,
    /// names a way to sign in, or has the authorization endpoint of MCP 2025-03-26.
    ///
    /// # Errors
    ///
    /// [`SignInError`], where what it names cannot be used.
    pub(crate) async fn offers_sign_in(&self, challenge: Challenge) -> Result<bool, SignInError> {
        let found = self.of_server(Some(challenge), |_| true).await?;
        let server = found.authorization_server;
        match server.proof {
            Proof::Advertised | Proof::NotAdvertised => Ok(true),
            Proof::Assumed => {
                let endpoint = server.authorization_endpoint.url().clone();
                let request = self.http.anywhere.get(endpoint).timeout(KNOCK);
                let answer = request.send().await;
                Ok(answer.is_ok_and(|answer| takes_browsers(answer.status())))
            }
        }
    }
}

/// Returns whether an endpoint that is asked for nothing answers as one for browsers does.
fn takes_browsers(status: StatusCode) -> bool {
    status.is_success()
        || status.is_redirection()
        || matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
        )
}
