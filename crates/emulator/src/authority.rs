//! The authority that the first segment of a path names: a tenant by its id or a domain, `common`,
//! `organizations` or `consumers`. It determines which apps are known and which accounts can sign
//! in.

use uuid::Uuid;

use crate::app::{App, SignInAudience};
use crate::cloud::{Cloud, Member, Registration};
use crate::fault::Fault;
use crate::tenant::{CONSUMERS, Tenant};

/// An authority of the emulator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'c> {
    cloud: &'c Cloud,
    kind: AuthorityKind<'c>,
}

#[derive(Clone, Copy, Debug)]
enum AuthorityKind<'c> {
    /// One tenant, named by its id or a domain.
    Tenant(&'c Tenant),
    /// The tenant of personal accounts, named by its alias.
    Consumers(&'c Tenant),
    /// Any organisation.
    Organizations,
    /// Any organisation, and personal accounts.
    Common,
}

impl<'c> Authority<'c> {
    /// Parses the first segment of a path.
    ///
    /// # Errors
    /// If it is neither an alias nor the id or a domain of a tenant.
    pub(crate) fn parse(cloud: &'c Cloud, segment: &str) -> Result<Self, Fault> {
        AuthorityKind::parse(cloud, segment)
            .map(|kind| Self { cloud, kind })
            .ok_or_else(|| Fault::UnknownTenant(segment.to_owned()))
    }

    /// Returns the authority of one tenant. It replaces a multi-tenant authority once the user is
    /// known.
    pub(crate) fn for_tenant(self, tenant: &'c Tenant) -> Self {
        let kind = AuthorityKind::Tenant(tenant);
        Self { kind, ..self }
    }

    /// Returns the path segment: the alias or the tenant's id.
    pub(crate) fn segment(self) -> String {
        match self.kind {
            AuthorityKind::Tenant(tenant) => tenant.id.to_string(),
            AuthorityKind::Consumers(_) => "consumers".to_owned(),
            AuthorityKind::Organizations => "organizations".to_owned(),
            AuthorityKind::Common => "common".to_owned(),
        }
    }

    /// Returns the tenant, or `None` for an authority of several tenants.
    pub(crate) fn tenant(self) -> Option<&'c Tenant> {
        match self.kind {
            AuthorityKind::Tenant(tenant) | AuthorityKind::Consumers(tenant) => Some(tenant),
            AuthorityKind::Organizations | AuthorityKind::Common => None,
        }
    }

    /// Returns the name for users.
    pub(crate) fn display_name(self) -> &'c str {
        self.tenant()
            .map_or("Entra ID emulator", |tenant| &tenant.name)
    }

    /// Returns whether users of `tenant` can sign in through this authority.
    pub(crate) fn admits(self, tenant: &Tenant) -> bool {
        match self.kind {
            AuthorityKind::Tenant(own) | AuthorityKind::Consumers(own) => own.id == tenant.id,
            AuthorityKind::Organizations => !tenant.is_consumers(),
            AuthorityKind::Common => true,
        }
    }

    /// Returns the app with this client id.
    ///
    /// # Errors
    /// If it does not exist, or must not be used through this authority.
    pub(crate) fn client(self, client_id: &str) -> Result<&'c App, Fault> {
        let id: Uuid = client_id
            .parse()
            .ok()
            .filter(|id: &Uuid| !id.is_nil())
            .ok_or_else(|| Fault::NotAnAppId(client_id.to_owned()))?;
        let unknown = || Fault::UnknownApp {
            client_id: id,
            tenant: self.display_name().to_owned(),
        };
        let registration = self.cloud.registration(id).ok_or_else(unknown)?;
        self.check_audience(registration.app)?;
        if self.knows(registration) {
            Ok(registration.app)
        } else {
            Err(unknown())
        }
    }

    fn check_audience(self, app: &App) -> Result<(), Fault> {
        let (client_id, name) = (app.client_id, app.name.clone());
        let personal = self.tenant().is_some_and(Tenant::is_consumers);
        match (app.sign_in_audience, self.kind) {
            (SignInAudience::MyOrg, AuthorityKind::Organizations | AuthorityKind::Common) => {
                Err(Fault::NotMultiTenant {
                    client_id,
                    name,
                    authority: self.segment(),
                })
            }
            (SignInAudience::MyOrg | SignInAudience::MultipleOrgs, _) if personal => {
                Err(Fault::NotForPersonalAccounts { client_id, name })
            }
            (SignInAudience::Personal, _) if !personal => {
                Err(Fault::OnlyForPersonalAccounts { client_id, name })
            }
            _ => Ok(()),
        }
    }

    /// Returns the API with this application id, or `None` if this authority does not know it.
    pub(crate) fn app(self, id: Uuid) -> Option<&'c App> {
        self.apps().find(|app| app.client_id == id)
    }

    /// Returns the API with this Application ID URI, or `None` if this authority does not know it.
    pub(crate) fn app_by_uri(self, uri: &str) -> Option<&'c App> {
        self.apps()
            .find(|app| app.app_id_uris.iter().any(|known| known == uri))
    }

    fn apps(self) -> impl Iterator<Item = &'c App> {
        self.cloud
            .registrations()
            .filter(move |registration| self.knows(*registration))
            .map(|registration| registration.app)
    }

    /// Returns whether this authority knows the app: in its home tenant, and in tenants of its
    /// audience.
    fn knows(self, Registration { home, app }: Registration<'_>) -> bool {
        match self.tenant() {
            Some(tenant) => tenant.id == home.id || tenant.is_in(app.sign_in_audience),
            None => app.sign_in_audience != SignInAudience::MyOrg,
        }
    }

    /// Returns the users who can sign in to `app`.
    pub(crate) fn allowed_users(self, app: &'c App) -> AllowedUsers<'c> {
        let home = self.cloud.registration(app.client_id).map(|one| one.home);
        AllowedUsers {
            authority: self,
            app,
            home: home.map(|home| home.id),
        }
    }
}

impl<'c> AuthorityKind<'c> {
    fn parse(cloud: &'c Cloud, segment: &str) -> Option<Self> {
        let by_id = || cloud.tenant(segment.parse().ok()?);
        let by_domain = || cloud.tenants().iter().find(|one| one.has_domain(segment));
        Some(match segment {
            "common" => Self::Common,
            "organizations" => Self::Organizations,
            "consumers" => Self::Consumers(cloud.tenant(CONSUMERS)?),
            _ => Self::Tenant(by_id().or_else(by_domain)?),
        })
    }
}

/// The users of an authority who can sign in to an app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllowedUsers<'c> {
    authority: Authority<'c>,
    app: &'c App,
    home: Option<Uuid>,
}

impl<'c> AllowedUsers<'c> {
    pub(crate) fn iter(self) -> impl Iterator<Item = Member<'c>> {
        let all = self.authority.cloud.members();
        all.filter(move |member| self.check(*member).is_ok())
    }

    pub(crate) fn contains(self, object_id: Uuid) -> bool {
        self.iter().any(|member| member.user.object_id == object_id)
    }

    /// Returns the object id of the user with this user name.
    ///
    /// # Errors
    /// With the message for the user, if no such user exists or may sign in here.
    pub(crate) fn find(self, username: &str) -> Result<Uuid, &'static str> {
        let member = self
            .authority
            .cloud
            .member_named(username)
            .ok_or("We couldn’t find an account with that user name.")?;
        self.check(member)?;
        Ok(member.user.object_id)
    }

    fn check(self, Member { tenant, .. }: Member<'_>) -> Result<(), &'static str> {
        let may_use = self.home == Some(tenant.id) || tenant.is_in(self.app.sign_in_audience);
        match (
            self.authority.admits(tenant) && may_use,
            tenant.is_consumers(),
        ) {
            (true, _) => Ok(()),
            (false, true) => Err(
                "You can’t sign in here with a personal account. Use your work or school account \
                 instead.",
            ),
            (false, false) => Err(
                "The selected account does not exist in this tenant and cannot access the \
                 application in it. Use a different account.",
            ),
        }
    }
}
