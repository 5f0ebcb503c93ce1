//! How long a server gets no further request, in seconds.

/// After an error response, for the same request. Entra counts identical refused requests, and
/// finally blocks the user.
pub(crate) const AFTER_REFUSAL: u64 = 60;

/// After a policy denial.
pub(crate) const AFTER_POLICY_DENIAL: u64 = 5 * 60;

/// After a busy response without `Retry-After`.
pub(crate) const AFTER_BUSY: u64 = 5;

/// After an unreachable server, while the old token is still valid.
pub(crate) const AFTER_UNREACHABLE: u64 = 30;

/// A second refused access token within this time means that the server refuses all tokens.
pub(crate) const REFUSED_TWICE: u64 = 60;
