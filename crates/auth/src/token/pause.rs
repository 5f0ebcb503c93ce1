//! How long a server is left alone. All in seconds.

/// How long the same request is not sent again after the server refused it. Entra counts
/// identical refused requests and blocks the user in the end.
pub(crate) const AFTER_REFUSAL: u64 = 60;

/// How long what a rule forbids is not asked for again.
pub(crate) const AFTER_RULE: u64 = 5 * 60;

/// How long a busy server is left alone where it does not say.
pub(crate) const AFTER_BUSY: u64 = 5;

/// How long an unreachable server is not asked again while the old token still works.
pub(crate) const AFTER_FAULT: u64 = 30;

/// Within how long a second refused access token means that no token will do.
pub(crate) const REFUSED_TWICE: u64 = 60;
