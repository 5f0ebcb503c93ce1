//! What one emulated tenant holds: its users and its app registrations.

use uuid::{Uuid, uuid};

use crate::app::{App, SignInAudience};

/// The id of the tenant that all personal accounts belong to, the same in every cloud.
pub const CONSUMERS: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");

/// One Entra tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The tenant id, `tid` in tokens.
    pub id: Uuid,
    /// The name people see on the sign-in page.
    pub name: String,
    /// Who can sign in; any non-empty password is right.
    pub users: Vec<User>,
    /// The app registrations: clients, and the APIs they ask tokens for.
    pub apps: Vec<App>,
    /// The identities of machines, which get tokens from the metadata service.
    pub managed_identities: Vec<ManagedIdentity>,
}

/// A user-assigned managed identity.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    /// The object id: `oid` and `sub` in its tokens.
    pub object_id: Uuid,
    /// The client id: `azp` in its tokens, and how a machine names it.
    pub client_id: Uuid,
    /// The display name.
    pub name: String,
}

/// A member of the tenant.
#[derive(Clone, Debug)]
pub struct User {
    /// The object id, `oid` in tokens.
    pub object_id: Uuid,
    /// The user principal name, as in `adele@contoso.example`.
    pub username: String,
    /// The display name.
    pub name: String,
}

impl Tenant {
    /// Whether it is the tenant of personal accounts.
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

    /// Whether `name` is a verified domain: one that a user name ends with.
    pub(crate) fn has_domain(&self, name: &str) -> bool {
        self.users
            .iter()
            .any(|user| user.domain().eq_ignore_ascii_case(name))
    }
}

impl User {
    /// What stands behind the `@` of the user name.
    pub(crate) fn domain(&self) -> &str {
        self.username
            .rsplit_once('@')
            .map_or("", |(_, domain)| domain)
    }
}
