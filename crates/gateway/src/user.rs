//! The user who signed in.

use serde::{Deserialize, Serialize};

/// A user of a tenant, from the id token. Names may change, the id does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// The tenant's id.
    pub(crate) tid: String,
    /// The object id, or the pairwise subject if the token has no object id.
    pub(crate) oid: String,
    /// The name to show.
    pub(crate) name: Option<String>,
    /// The sign-in name. It may be given to another user later.
    pub(crate) preferred_username: Option<String>,
}

impl User {
    /// Returns the id of the user. The store uses it as a key, and backends get it.
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
