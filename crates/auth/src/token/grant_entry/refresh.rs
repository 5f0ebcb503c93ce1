//! What a refresh requests, and what follows from its response.

/// The parameters of a refresh.
pub(crate) enum Refresh {
    /// For all servers of the grant, with the claims that the authorization server requires.
    Shared { claims: Option<String> },
    /// With the claims that the server at this URL requires.
    ForServer { server: String, claims: String },
}

impl Refresh {
    /// Returns the claims to request.
    pub(crate) fn claims(&self) -> Option<String> {
        match self {
            Self::Shared { claims } => claims.clone(),
            Self::ForServer { claims, .. } => Some(claims.clone()),
        }
    }
}

/// The outcome of a refresh attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshOutcome {
    /// There are new tokens to store.
    Refreshed,
    /// The refresh token is invalid and must be deleted.
    Revoked,
    /// The registration is invalid and must be deleted.
    RegistrationLost,
    /// Nothing changed.
    Unchanged,
}
