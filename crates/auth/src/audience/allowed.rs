//! The resources that one server may have tokens for.

use model::Resource;
use model::config::ServerAuth;

use crate::entra::{is_protocol_scope, resource_of};

/// The resources that one server may have tokens for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowedResources(Vec<Resource>);

/// Scopes, divided by whether their resource is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SortedScopes {
    pub(crate) allowed: Vec<String>,
    /// Scopes of other resources, which are never requested.
    pub(crate) foreign: Vec<String>,
}

impl AllowedResources {
    /// Returns the resources of the configuration: its resource, and those of its scopes.
    pub(crate) fn configured(auth: &ServerAuth) -> Self {
        let (resource, scopes): (_, &[String]) = match auth {
            ServerAuth::Entra {
                resource, scopes, ..
            } => (Some(resource), scopes),
            ServerAuth::Client { scopes, .. } => (None, scopes),
            ServerAuth::ClientCredentials(config) => (config.resource(), &config.scopes),
            ServerAuth::Discover | ServerAuth::None => (None, &[]),
        };
        let of_scopes = scopes.iter().filter_map(|scope| resource_of(scope));
        let mut allowed = Self(resource.into_iter().cloned().collect());
        for resource in of_scopes {
            allowed.add(Resource::new(resource));
        }
        allowed
    }

    /// Adds a resource.
    pub(crate) fn add(&mut self, resource: Resource) {
        if !self.0.contains(&resource) {
            self.0.push(resource);
        }
    }

    /// Returns the first resource, to which bare scopes belong.
    pub(crate) fn first(&self) -> Option<&Resource> {
        self.0.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter()
    }

    /// Returns true if a scope may be requested: a bare one, which gets the server's own resource,
    /// or one whose resource is allowed byte for byte.
    pub(crate) fn admits(&self, scope: &str) -> bool {
        is_scope(scope)
            && match resource_of(scope) {
                None => true,
                Some(resource) => self.0.iter().any(|allowed| allowed.as_str() == resource),
            }
    }

    /// Divides scopes by whether they may be requested. Omits those of OpenID Connect.
    pub(crate) fn sort(&self, scopes: &[String]) -> SortedScopes {
        let scopes = scopes.iter().filter(|scope| !is_protocol_scope(scope));
        let (allowed, foreign) = scopes.cloned().partition(|scope| self.admits(scope));
        SortedScopes { allowed, foreign }
    }
}

/// Returns true if the text is one scope (RFC 6749 §3.3) of a realistic length.
pub(super) fn is_scope(text: &str) -> bool {
    let is_allowed = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.len() <= MAX_LENGTH && text.bytes().all(is_allowed)
}

/// The maximum length of a scope, in bytes. An App ID URI has at most 255.
const MAX_LENGTH: usize = 512;

#[cfg(test)]
mod tests {
    use model::config::ServerAuth;
    use model::{Issuer, Resource};

    use super::AllowedResources;

    #[test]
    fn only_scopes_of_configured_resources_are_allowed() {
        let allowed = AllowedResources::configured(&ServerAuth::Entra {
            authority: Issuer::new("https://login.example/t/v2.0"),
            client_id: "c".to_owned(),
            resource: Resource::new("api://files"),
            scopes: vec!["read".to_owned(), "https://mail.example//send".to_owned()],
            redirect_port: 0,
        });
        let scopes = [
            "write",
            "api://files/.default",
            "https://mail.example//read",
            "openid",
            "api://other/.default",
            "API://files/x",
            "api://files//x",
            "https://mail.example/read",
            "https://graph.microsoft.com/Mail.Read",
            "a\"b",
            "api://files/x y",
        ]
        .map(str::to_owned);
        let sorted = allowed.sort(&scopes);
        assert_eq!(sorted.allowed, &scopes[..3]);
        assert_eq!(sorted.foreign, &scopes[4..]);
    }
}
