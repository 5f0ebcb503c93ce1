//! Parses the `scope` parameter: OpenID Connect scopes and delegated permissions of resources.
//! Resources are looked up in the requested authority, and in the user's tenant once it is known.
//!
//! Resource identifiers are compared character for character and never treated as URLs.

use uuid::{Uuid, uuid};

use crate::app::App;
use crate::authority::Authority;
use crate::credential::FederatedCredential;
use crate::fault::Fault;

/// The application id of Microsoft Graph, the resource of scopes without a prefix.
pub(crate) const GRAPH_ID: Uuid = uuid!("00000003-0000-0000-c000-000000000000");
/// The application id behind [`FederatedCredential::AUDIENCE`].
pub(crate) const TOKEN_EXCHANGE_ID: Uuid = uuid!("fb60f99c-7a34-4190-8149-302f77469936");
const GRAPH_URIS: [&str; 2] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.com/",
];
/// The Graph permissions that the emulator supports.
const GRAPH_SCOPES: [&str; 5] = [
    "User.Read",
    "User.ReadBasic.All",
    "Calendars.Read",
    "Files.Read",
    "Mail.Read",
];
/// The Graph permissions that `.default` stands for.
const GRAPH_DEFAULT: [&str; 1] = ["User.Read"];
const DEFAULT: &str = ".default";

/// The OpenID Connect scopes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oidc {
    pub(crate) openid: bool,
    pub(crate) profile: bool,
    pub(crate) email: bool,
    pub(crate) offline_access: bool,
}

/// A resource that tokens are for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'t> {
    /// Microsoft Graph.
    Graph,
    /// The resource that exchanges tokens of managed identities for those of apps that trust them.
    TokenExchange,
    /// An app of the emulator.
    App(&'t App),
}

/// The requested scopes of one resource.
#[derive(Clone, Debug)]
pub(crate) struct ResourceScopes<'t> {
    pub(crate) resource: Resource<'t>,
    /// The resource as the client named it.
    pub(crate) identifier: String,
    names: Names<'t>,
}

#[derive(Clone, Debug)]
enum Names<'t> {
    /// `.default`: all granted permissions.
    Default,
    Listed(Vec<&'t str>),
}

/// A resolved `scope` parameter.
#[derive(Clone, Debug)]
pub(crate) struct Scopes<'t> {
    pub(crate) oidc: Oidc,
    /// In the order of the first occurrence.
    pub(crate) requested: Vec<ResourceScopes<'t>>,
}

impl<'t> Scopes<'t> {
    /// Resolves `scope` and the optional `resource` (RFC 8707). `resource` must be an Application
    /// ID URI of the one app that all scopes belong to.
    ///
    /// # Errors
    /// If a resource or a scope does not exist, or the combination is not allowed.
    pub(crate) fn resolve(
        authority: Authority<'t>,
        client: &App,
        scope: &str,
        resource: Option<&str>,
    ) -> Result<Self, Fault> {
        let mut scopes = Self {
            oidc: Oidc::default(),
            requested: Vec::new(),
        };
        for one in scope.split_ascii_whitespace() {
            if !scopes.oidc.take(one) {
                scopes.ask(authority, client, one)?;
            }
        }
        if let Some(resource) = resource {
            scopes.restrict(authority, resource)?;
        }
        match scopes
            .requested
            .iter()
            .find(|requested| requested.is_self_by_uri(client))
        {
            Some(requested) if matches!(requested.names, Names::Default) => {
                Err(Fault::SelfRequestByUri(client.client_id))
            }
            _ => Ok(scopes),
        }
    }

    /// Returns the scopes of the only resource, or `None` if there is no resource. `scope` is the
    /// original parameter, for the error.
    ///
    /// # Errors
    /// If there are several resources.
    pub(crate) fn single_resource(
        mut self,
        scope: &str,
    ) -> Result<(Oidc, Option<ResourceScopes<'t>>), Fault> {
        match (self.requested.pop(), self.requested.is_empty()) {
            (requested, true) => Ok((self.oidc, requested)),
            (_, false) => Err(Fault::SeveralResources(scope.to_owned())),
        }
    }

    /// Returns the application ids of the requested resources.
    pub(crate) fn resources(&self) -> Vec<Uuid> {
        self.requested
            .iter()
            .map(|requested| requested.resource.id())
            .collect()
    }

    /// Returns all granted permissions of a resource.
    ///
    /// # Errors
    /// If `identifier` names no resource.
    pub(crate) fn all_granted_of(
        authority: Authority<'t>,
        identifier: &str,
    ) -> Result<ResourceScopes<'t>, Fault> {
        Ok(ResourceScopes {
            resource: Resource::named(authority, identifier)?,
            identifier: identifier.to_owned(),
            names: Names::Default,
        })
    }

    fn ask(&mut self, authority: Authority<'t>, client: &App, scope: &str) -> Result<(), Fault> {
        let (identifier, name) = match scope.rsplit_once('/') {
            Some((_, "")) | Some(("", _)) => return Err(Fault::InvalidScope(scope.to_owned())),
            Some(parts) => parts,
            None => (GRAPH_URIS[0], scope),
        };
        let resource = Resource::named(authority, identifier)?;
        let position = match self
            .requested
            .iter()
            .position(|a| a.resource.id() == resource.id())
        {
            Some(position) => position,
            None => {
                self.requested.push(ResourceScopes {
                    resource,
                    identifier: identifier.to_owned(),
                    names: Names::Listed(Vec::new()),
                });
                self.requested.len() - 1
            }
        };
        self.requested[position].add(client, scope, name)
    }

    fn restrict(&mut self, authority: Authority<'t>, resource: &str) -> Result<(), Fault> {
        let mismatch = || Fault::ResourceMismatch(resource.to_owned());
        let wanted = Resource::by_uri(authority, resource).ok_or_else(mismatch)?;
        if self.requested.is_empty() {
            self.requested.push(ResourceScopes {
                resource: wanted,
                identifier: resource.to_owned(),
                names: Names::Default,
            });
        }
        if self
            .requested
            .iter()
            .all(|a| a.resource.id() == wanted.id())
        {
            Ok(())
        } else {
            Err(mismatch())
        }
    }
}

impl Oidc {
    fn take(&mut self, scope: &str) -> bool {
        match scope {
            "openid" => self.openid = true,
            "profile" => self.profile = true,
            "email" => self.email = true,
            "offline_access" => self.offline_access = true,
            _ => return false,
        }
        true
    }

    /// Returns the union of both requests.
    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            openid: self.openid || other.openid,
            profile: self.profile || other.profile,
            email: self.email || other.email,
            offline_access: self.offline_access || other.offline_access,
        }
    }

    /// Returns the scopes that appear in a token for Graph, which defines them.
    fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.openid, "openid"),
            (self.profile, "profile"),
            (self.email, "email"),
        ]
        .into_iter()
        .filter_map(|(requested, name)| requested.then_some(name))
    }
}

impl<'t> Resource<'t> {
    fn named(authority: Authority<'t>, identifier: &str) -> Result<Self, Fault> {
        let by_id = || match identifier.parse::<Uuid>() {
            Ok(GRAPH_ID) => Some(Self::Graph),
            Ok(TOKEN_EXCHANGE_ID) => Some(Self::TokenExchange),
            Ok(id) => authority.app(id).map(Self::App),
            Err(_) => None,
        };
        Self::by_uri(authority, identifier)
            .or_else(by_id)
            .ok_or_else(|| Fault::UnknownResource {
                resource: identifier.to_owned(),
                tenant: authority.display_name().to_owned(),
            })
    }

    fn by_uri(authority: Authority<'t>, uri: &str) -> Option<Self> {
        if GRAPH_URIS.contains(&uri) {
            return Some(Self::Graph);
        }
        if uri == FederatedCredential::AUDIENCE {
            return Some(Self::TokenExchange);
        }
        authority.app_by_uri(uri).map(Self::App)
    }

    /// Returns the application id, which is `aud` in v2 tokens.
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Graph => GRAPH_ID,
            Self::TokenExchange => TOKEN_EXCHANGE_ID,
            Self::App(app) => app.client_id,
        }
    }

    /// Returns the name on the consent page.
    pub(crate) fn display_name(&self) -> &'t str {
        match self {
            Self::Graph => "Microsoft Graph",
            Self::TokenExchange => "Azure AD token exchange",
            Self::App(app) => &app.name,
        }
    }

    fn exposed(&self, name: &str) -> Option<&'t str> {
        let same = |known: &&str| known.eq_ignore_ascii_case(name);
        match self {
            Self::Graph => GRAPH_SCOPES.into_iter().find(same),
            Self::TokenExchange => None,
            Self::App(app) => app.scopes.iter().map(String::as_str).find(same),
        }
    }

    /// Returns the roles that were granted to the application `client_id`: `roles` in its tokens.
    pub(crate) fn roles_of(&self, client_id: Uuid) -> Vec<&'t str> {
        match self {
            Self::Graph | Self::TokenExchange => Vec::new(),
            Self::App(app) => app
                .app_roles
                .iter()
                .filter(|role| role.granted_to.contains(&client_id))
                .map(|role| role.value.as_str())
                .collect(),
        }
    }

    fn granted(&self) -> Vec<&'t str> {
        match self {
            Self::Graph => GRAPH_DEFAULT.to_vec(),
            Self::TokenExchange => Vec::new(),
            Self::App(app) => app.scopes.iter().map(String::as_str).collect(),
        }
    }
}

impl<'t> ResourceScopes<'t> {
    /// Requests only OpenID Connect scopes. The token is for Graph's userinfo endpoint.
    pub(crate) fn userinfo() -> Self {
        Self {
            resource: Resource::Graph,
            identifier: GRAPH_URIS[0].to_owned(),
            names: Names::Listed(Vec::new()),
        }
    }

    fn add(&mut self, client: &App, scope: &str, name: &str) -> Result<(), Fault> {
        let mixed = || Fault::InvalidScope(scope.to_owned());
        match &mut self.names {
            Names::Default if name == DEFAULT => Ok(()),
            Names::Default => Err(mixed()),
            Names::Listed(names) if name == DEFAULT => {
                if !names.is_empty() {
                    return Err(mixed());
                }
                self.names = Names::Default;
                Ok(())
            }
            Names::Listed(names) => {
                let exposed = self
                    .resource
                    .exposed(name)
                    .ok_or_else(|| Fault::UnknownScope {
                        client: client.name.clone(),
                        scope: name.to_owned(),
                        resource: self.resource.id(),
                    })?;
                if !names.contains(&exposed) {
                    names.push(exposed);
                }
                Ok(())
            }
        }
    }

    /// Returns whether `client` requests a token for itself and names itself by an Application ID
    /// URI.
    pub(crate) fn is_self_by_uri(&self, client: &App) -> bool {
        self.resource.id() == client.client_id && self.identifier.parse::<Uuid>().is_err()
    }

    /// Returns the permissions in the token, `scp`.
    pub(crate) fn granted(&self, oidc: Oidc) -> Vec<&'t str> {
        let mut names = match &self.names {
            Names::Default => self.resource.granted(),
            Names::Listed(names) => names.clone(),
        };
        if matches!(self.resource, Resource::Graph) {
            for name in oidc.names() {
                names.push(name);
            }
        }
        names
    }

    /// Returns the `scope` of the response. Permissions of other resources than Graph have the
    /// resource as prefix, as the client named it.
    pub(crate) fn response_scope(&self, oidc: Oidc) -> String {
        let mut names = self.granted(oidc);
        if matches!(self.resource, Resource::Graph) {
            return names.join(" ");
        }
        if matches!(self.names, Names::Default) {
            names.push(DEFAULT);
        }
        let full: Vec<String> = names
            .iter()
            .map(|name| format!("{}/{name}", self.identifier))
            .collect();
        full.join(" ")
    }
}

#[cfg(test)]
mod tests;
