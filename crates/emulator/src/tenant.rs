//! An emulated tenant: its users, app registrations and managed identities.

use uuid::{Uuid, uuid};

use crate::app::{App, SignInAudience};

/// The id of the tenant of all personal accounts. It is the same in every cloud.
pub const CONSUMERS: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

/// One Entra tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The tenant id, `tid` in tokens.
    pub id: Uuid,
    /// The name on the sign-in pages.
    pub name: String,
    /// The users who can sign in, with any non-empty password.
    pub users: Vec<User>,
    /// The app registrations: clients, and the APIs that they request tokens for.
    pub apps: Vec<App>,
    /// The managed identities, which get tokens from the instance metadata service.
    pub managed_identities: Vec<ManagedIdentity>,
}

/// A user-assigned managed identity.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    /// The object id: `oid` and `sub` in its tokens.
    pub object_id: Uuid,
    /// The client id: `azp` in its tokens. Token requests can name it.
    pub client_id: Uuid,
    /// The display name.
    pub name: String,
}

/// A user of the tenant.
#[derive(Clone, Debug)]
pub struct User {
    /// The object id, `oid` in tokens.
    pub object_id: Uuid,
    /// The user principal name, for example `adele@contoso.example`.
    pub username: String,
    /// The display name.
    pub name: String,
}

impl Tenant {
    /// Returns whether this is the tenant of personal accounts.
    pub(crate) fn is_consumers(&self) -> bool {
        self.id == CONSUMERS
    }

    /// Returns whether the audience of an app of another tenant includes this tenant.
    pub(crate) fn is_in(&self, audience: SignInAudience) -> bool {
        match audience {
            SignInAudience::MyOrg => false,
            SignInAudience::MultipleOrgs => !self.is_consumers(),
            SignInAudience::OrgsAndPersonal => true,
            SignInAudience::Personal => self.is_consumers(),
        }
    }

    /// Returns whether `name` is a verified domain: the domain of a user name.
    pub(crate) fn has_domain(&self, name: &str) -> bool {
        self.users
            .iter()
            .any(|user| user.domain().eq_ignore_ascii_case(name))
    }
}

impl User {
    /// Returns the domain of the user name.
    pub(crate) fn domain(&self) -> &str {
        self.username
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain)
    }
}
