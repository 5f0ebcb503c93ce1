//! What is known of a person.

use model::Issuer;

/// A person at an authority: what an account is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The authority that vouches for the person.
    pub issuer: Issuer,
    /// The authority's name for the person; opaque. Where the authority tells nothing about
    /// people, the resource that was signed in to stands here.
    pub subject: String,
}

/// What is known of a person who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What the account is known by.
    pub key: AccountKey,
    /// The name to show.
    pub name: Option<String>,
    /// The name to sign in with, often an e-mail address. For display only: it can change hands.
    pub username: Option<String>,
    /// The Entra tenant.
    pub tenant: Option<String>,
    /// The Entra object id, stable within the tenant.
    pub object_id: Option<String>,
}
