//! The accounts of users.

use model::Issuer;

/// Identifies an account: a user at one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The issuer that authenticates the user.
    pub issuer: Issuer,
    /// The opaque subject at the issuer. If the authorization server tells nothing about its
    /// users, this is the audience of the sign-in.
    pub subject: String,
}

/// A user who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Identifies the account.
    pub key: AccountKey,
    /// The display name.
    pub name: Option<String>,
    /// The sign-in name, often an e-mail address. For display only, because it can be reassigned.
    pub username: Option<String>,
    /// The Entra tenant.
    pub tenant: Option<String>,
    /// The Entra object id, stable within the tenant.
    pub object_id: Option<String>,
}
