//! The commands of the admin API.

use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::fault_injection::{Requirement, Reuse, Times};

/// A change to the emulator. As JSON, `do` names the variant: `{"do": "fail", "number": 50076}`.
///
/// `user` is a user name or an object id. `app` is a client id or a name. A rule without `user`
/// applies to every user, a rule without `app` to every app. An app matches as the client and as
/// the API that the tokens are for. If several rules match, the oldest one applies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Return an error of the table (`GET /admin/errors`). At the authorization endpoint, a rule
    /// without a user applies immediately; one with a user applies after the sign-in.
    Fail {
        /// The AADSTS number.
        number: u32,
        /// If missing, every endpoint that can return the error.
        endpoint: Option<Endpoint>,
        /// If missing, every user.
        user: Option<String>,
        /// If missing, every app.
        app: Option<String>,
        /// How many times.
        #[serde(default = "Times::once")]
        times: Times,
    },
    /// Require something of users until the rule is removed.
    Require {
        /// The requirement.
        requirement: Requirement,
        /// If missing, every user.
        user: Option<String>,
        /// If missing, every app.
        app: Option<String>,
    },
    /// Return 429.
    Throttle {
        /// If missing, every path.
        endpoint: Option<Endpoint>,
        /// How many requests.
        #[serde(default = "Times::once")]
        times: Times,
        /// `Retry-After`, in seconds.
        #[serde(default = "retry_after")]
        retry_after: u32,
    },
    /// Return 503.
    Outage {
        /// If missing, every path.
        endpoint: Option<Endpoint>,
        /// How many requests.
        #[serde(default = "Times::always")]
        times: Times,
    },
    /// Remove one rule.
    Remove {
        /// The number of the rule.
        rule: u32,
    },
    /// Remove all rules, and tolerate reuse of refresh tokens again.
    Clear,
    /// End all sessions of a user: refresh tokens become invalid, the browser asks for the
    /// password, and APIs with continuous access evaluation require newer tokens.
    RevokeSessions {
        /// The user.
        user: String,
    },
    /// Make APIs with continuous access evaluation require newer tokens of a user. The sessions
    /// continue.
    ChallengeTokens {
        /// The user.
        user: String,
    },
    /// Set how reuse of a refresh token is handled.
    RefreshReuse {
        /// Applies to uses from now on.
        reuse: Reuse,
    },
    /// Publish another key. It does not sign yet.
    AddKey,
    /// Sign with a published key.
    UseKey {
        /// The key id.
        kid: String,
    },
    /// Stop publishing a key. Its signatures become invalid immediately.
    DropKey {
        /// The key id.
        kid: String,
    },
    /// Emergency rollover: replace all keys immediately.
    ReplaceKeys,
    /// Move the clock forward.
    Advance {
        /// By how many seconds.
        seconds: u64,
    },
}

/// Returns the `Retry-After` of Entra, in seconds.
pub(super) const fn retry_after() -> u32 {
    60
}
