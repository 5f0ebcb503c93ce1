//! Why a grant gives no usable token, and what that means for a server.

use std::time::Duration;

use model::Issuer;
use tokio::task::JoinError;

use texts::Text;

use super::grant::ObtainedBy;
use crate::error::{AuthorizationError, SignInReason};
use crate::explanation::Explanation;
use crate::target::Target;

/// Why there is no usable token.
#[derive(Clone, Debug)]
pub(crate) enum GrantError {
    SignInNeeded(SignInReason, Option<Box<Explanation>>),
    Unreachable {
        reason: Text,
        retry_after: Option<Duration>,
    },
    /// A policy denies access for now.
    Forbidden(Box<Explanation>),
    Misconfigured {
        reason: Text,
        explanation: Option<Box<Explanation>>,
    },
    /// The token is for one of Microsoft's own resources, which the server may not have.
    ForeignAudience {
        audience: String,
        owner: &'static str,
    },
    /// The authorization server does not know the client any more. It has to register again.
    RegistrationLost,
}

impl GrantError {
    /// Adjusts the error to how the user signed in. A refusal after a sign-in by device code may
    /// concern that flow alone, so the next sign-in should use a browser.
    pub(super) fn for_sign_in_method(self, obtained_by: ObtainedBy) -> Self {
        let reason = SignInReason::DeviceCodeRefused;
        match (obtained_by, self) {
            (ObtainedBy::DeviceCode, Self::SignInNeeded(_, explanation)) => {
                Self::SignInNeeded(reason, explanation)
            }
            (ObtainedBy::DeviceCode, Self::Forbidden(explanation)) => {
                Self::SignInNeeded(reason, Some(explanation))
            }
            (_, error) => error,
        }
    }
}

impl From<JoinError> for GrantError {
    fn from(error: JoinError) -> Self {
        Self::Unreachable {
            reason: Text::verbatim(error),
            retry_after: None,
        }
    }
}

impl GrantError {
    /// Converts the error for a server whose grant is from `issuer`.
    pub(super) fn for_server(self, target: &Target, issuer: &Issuer) -> AuthorizationError {
        let server = target.url().shown().to_owned();
        match self {
            Self::SignInNeeded(reason, explanation) => AuthorizationError::SignInNeeded {
                server,
                reason,
                explanation,
            },
            Self::ForeignAudience { audience, owner } => AuthorizationError::ForeignAudience {
                server,
                audience,
                owner,
            },
            Self::RegistrationLost => AuthorizationError::SignInNeeded {
                server,
                reason: SignInReason::Revoked,
                explanation: None,
            },
            Self::Unreachable {
                reason,
                retry_after,
            } => AuthorizationError::Unreachable {
                server,
                issuer: issuer.to_string(),
                reason,
                retry_after,
            },
            Self::Forbidden(explanation) => AuthorizationError::Forbidden {
                server,
                explanation,
            },
            Self::Misconfigured {
                reason,
                explanation,
            } => AuthorizationError::Misconfigured {
                server,
                reason,
                explanation,
            },
        }
    }
}
