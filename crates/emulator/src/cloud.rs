//! All tenants of the emulator, and lookups across them.

use std::collections::HashSet;

use uuid::Uuid;

use crate::app::App;
use crate::tenant::{CONSUMERS, ManagedIdentity, Tenant, User};

/// The configured tenants and the one of personal accounts.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    tenants: Vec<Tenant>,
}

/// A user and the user's tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'c> {
    pub(crate) tenant: &'c Tenant,
    pub(crate) user: &'c User,
}

/// An app and the tenant where it is registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration<'c> {
    pub(crate) home: &'c Tenant,
    pub(crate) app: &'c App,
}

/// A managed identity and its tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'c> {
    pub(crate) tenant: &'c Tenant,
    pub(crate) identity: &'c ManagedIdentity,
}

impl Cloud {
    /// Adds the tenant of personal accounts if it is missing.
    ///
    /// # Errors
    /// If two tenants, users or apps have the same id.
    pub(crate) fn new(mut tenants: Vec<Tenant>) -> anyhow::Result<Self> {
        if !tenants.iter().any(Tenant::is_consumers) {
            tenants.push(Tenant {
                id: CONSUMERS,
                name: "Personal accounts".to_owned(),
                users: Vec::new(),
                apps: Vec::new(),
                managed_identities: Vec::new(),
            });
        }
        let cloud = Self { tenants };
        check_distinct("tenants", cloud.tenants.iter().map(|tenant| tenant.id))?;
        check_distinct("users", cloud.members().map(|one| one.user.object_id))?;
        check_distinct("apps", cloud.registrations().map(|one| one.app.client_id))?;
        Ok(cloud)
    }

    pub(crate) fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    pub(crate) fn tenant(&self, id: Uuid) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == id)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.tenants.iter().flat_map(|tenant| {
            let member = move |user| Member { tenant, user };
            tenant.users.iter().map(member)
        })
    }

    pub(crate) fn registrations(&self) -> impl Iterator<Item = Registration<'_>> {
        self.tenants.iter().flat_map(|home| {
            let registration = move |app| Registration { home, app };
            home.apps.iter().map(registration)
        })
    }

    pub(crate) fn identities(&self) -> impl Iterator<Item = Identity<'_>> {
        self.tenants.iter().flat_map(|tenant| {
            let identity = move |identity| Identity { tenant, identity };
            tenant.managed_identities.iter().map(identity)
        })
    }

    pub(crate) fn member(&self, object_id: Uuid) -> Option<Member<'_>> {
        self.members().find(|one| one.user.object_id == object_id)
    }

    /// Returns the user with this user name. Ignores case and surrounding spaces.
    pub(crate) fn member_named(&self, username: &str) -> Option<Member<'_>> {
        let wanted = username.trim();
        self.members()
            .find(|one| one.user.username.eq_ignore_ascii_case(wanted))
    }

    pub(crate) fn registration(&self, client_id: Uuid) -> Option<Registration<'_>> {
        self.registrations()
            .find(|one| one.app.client_id == client_id)
    }
}

fn check_distinct(what: &str, ids: impl Iterator<Item = Uuid>) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    for id in ids {
        anyhow::ensure!(
            seen.insert(id),
            "two {what} of the emulator have the id {id}; hint: give each a unique id"
        );
    }
    Ok(())
}
