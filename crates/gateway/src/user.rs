//! The user that signed in.

use serde::{Deserialize, Serialize};

/// A user of a tenant, as the id token told. Names may change; the id does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// The tenant's id.
    pub(crate) tid: String,
    /// The object id; the pairwise subject where the token has none.
    pub(crate) oid: String,
    /// The name to show.
    pub(crate) name: Option<String>,
    /// The name they sign in with. It may be given to another user later.
    pub(crate) preferred_username: Option<String>,
}

impl User {
    /// Returns the id, under which everything of this user is stored and which backends are sent.
    pub(crate) fn id(&self) -> String {
        format!("{}.{}", self.tid, self.oid)
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text is JSON")
    }

    pub(crate) fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
