//! Everything that can be asked of the switches.

use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::fault_injection::{Requirement, Reuse, Times};

/// A change to the emulator. As JSON, `do` names the variant: `{"do": "fail", "number": 50076}`.
///
/// `user` is a user name or an object id, `app` a client id or a name; whoever is left out is
/// anybody. An app matches as the client and as the API that the tokens are for. Which rule
/// answers where several could is the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Answer with an error of the table (`GET /admin/errors`). At the authorization endpoint,
    /// one without a user is answered at once, one with a user after they signed in.
    Fail {
        /// The AADSTS number.
        number: u32,
        /// Wherever the error occurs, if left out.
        endpoint: Option<Endpoint>,
        /// Anybody, if left out.
        user: Option<String>,
        /// Any app, if left out.
        app: Option<String>,
        /// How often.
        #[serde(default = "Times::once")]
        times: Times,
    },
    /// Demand something of people, until the rule is removed.
    Require {
        /// What.
        requirement: Requirement,
        /// Anybody, if left out.
        user: Option<String>,
        /// Any app, if left out.
        app: Option<String>,
    },
    /// Answer 429.
    Throttle {
        /// Every request, if left out.
        endpoint: Option<Endpoint>,
        /// How many requests.
        #[serde(default = "Times::once")]
        times: Times,
        /// `Retry-After`, in seconds.
        #[serde(default = "retry_after")]
        retry_after: u32,
    },
    /// Answer 503.
    Outage {
        /// Every request, if left out.
        endpoint: Option<Endpoint>,
        /// How many requests.
        #[serde(default = "Times::always")]
        times: Times,
    },
    /// Remove one rule.
    Remove {
        /// Its number.
        rule: u32,
    },
    /// Remove every rule, and tolerate reuse of refresh tokens again.
    Clear,
    /// End the sessions of a user everywhere: refresh tokens end, the browser asks for the
    /// password, and APIs that evaluate access continuously want newer tokens.
    RevokeSessions {
        /// Whose.
        user: String,
    },
    /// Have such APIs want newer tokens of a user whose sessions live on.
    ChallengeTokens {
        /// Whose.
        user: String,
    },
    /// What becomes of a refresh token that is used twice.
    RefreshReuse {
        /// Counted from now on.
        reuse: Reuse,
    },
    /// Publish another key, which does not sign yet.
    AddKey,
    /// Let a published key sign.
    UseKey {
        /// Its id.
        kid: String,
    },
    /// Publish a key no longer; its signatures are worth nothing from now on.
    DropKey {
        /// Its id.
        kid: String,
    },
    /// Emergency: new keys at once, and none of the old ones.
    ReplaceKeys,
    /// Move the clock forward.
    Advance {
        /// By how much.
        seconds: u64,
    },
}

/// Entra's own `Retry-After`, in seconds.
pub(super) const fn retry_after() -> u32 {
    60
}
