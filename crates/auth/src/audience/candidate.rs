//! The resource that a discovered server may ask its user for.

use std::collections::BTreeSet;

use model::Resource;

use super::{ConfiguredServer, is_same_resource, microsoft_resource, resource_of};
use crate::dialect::{is_guid, is_protocol_scope};
use crate::discovery::ProtectedResource;

/// Why a server may not ask for a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CandidateError {
    /// Its scopes name several.
    #[error("asks for access to several resources: {}", .0.join(", "))]
    Several(Vec<String>),
    /// It is Microsoft's own.
    #[error("asks for access to `{resource}`, which is {owner}")]
    Microsoft {
        resource: Resource,
        owner: &'static str,
    },
    /// Another configured server uses it.
    #[error("asks for access to `{resource}`, which the server {server} uses")]
    Taken { resource: Resource, server: String },
    /// It is no identifier that an application can have.
    #[error(
        "asks for access to `{resource}`, which is neither api://, https:// nor an application id"
    )]
    Unusual { resource: Resource },
}

/// Returns the one resource that the metadata of a server names: that of its scopes, else what
/// the server calls itself (RFC 9728 §2).
///
/// # Errors
///
/// [`CandidateError`], if the user must not be asked for it. `uses` returns whether a server uses
/// a resource.
pub(crate) fn candidate(
    described: &ProtectedResource,
    others: &[ConfiguredServer],
    uses: impl Fn(&ConfiguredServer, &str) -> bool,
) -> Result<Resource, CandidateError> {
    let scopes = described.scopes.iter();
    let scopes = scopes.filter(|scope| !is_protocol_scope(scope));
    // Bare scopes belong to the resource that the others name.
    let named: BTreeSet<&str> = scopes.filter_map(|scope| resource_of(scope)).collect();
    let mut named = named.into_iter();
    let resource = match (named.next(), named.next()) {
        (None, _) => described.resource.clone(),
        (Some(one), None) => Resource::new(one),
        (Some(one), Some(other)) => {
            let all = [one, other].into_iter().chain(named);
            return Err(CandidateError::Several(all.map(str::to_owned).collect()));
        }
    };
    if let Some(owner) = microsoft_resource(resource.as_str()) {
        return Err(CandidateError::Microsoft { resource, owner });
    }
    if !is_usual(resource.as_str()) {
        return Err(CandidateError::Unusual { resource });
    }
    let taken = others.iter().find(|server| uses(server, resource.as_str()));
    if let Some(server) = taken {
        let server = server.name.clone();
        return Err(CandidateError::Taken { resource, server });
    }
    Ok(resource)
}

/// Returns whether an application of an organisation can be called that: an App ID URI, or an
/// application id.
fn is_usual(resource: &str) -> bool {
    let lower = resource.to_ascii_lowercase();
    let is_loopback = || {
        let endpoint = resource.parse::<model::EndpointUrl>();
        endpoint.is_ok_and(|url| url.is_loopback())
    };
    lower.starts_with("api://") || lower.starts_with("https://") || is_guid(&lower) || is_loopback()
}

impl CandidateError {
    /// Returns the resource that a person could still name in the configuration.
    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::Several(named) => named.first().map_or("", String::as_str),
            Self::Microsoft { resource, .. }
            | Self::Taken { resource, .. }
            | Self::Unusual { resource } => resource.as_str(),
        }
    }
}

/// Returns whether the configuration of a server names a resource.
pub(crate) fn names(server: &ConfiguredServer, resource: &str) -> bool {
    let resources = server.resources();
    let mut resources = resources.iter();
    resources.any(|own| is_same_resource(own.as_str(), resource))
}

#[cfg(test)]
mod tests {
    use model::Resource;

    use super::{CandidateError, candidate};
    use crate::discovery::ProtectedResource;

    fn asked(scopes: &[&str]) -> Result<Resource, CandidateError> {
        let described = ProtectedResource {
            resource: Resource::new("https://files.example/mcp"),
            authorization_servers: Vec::new(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        candidate(&described, &[], |_, _| false)
    }

    #[test]
    fn candidate_is_common_resource_of_scopes() {
        let own = Resource::new("https://files.example/mcp");
        assert_eq!(asked(&[]), Ok(own.clone()));
        assert_eq!(asked(&["openid", "read", "write"]), Ok(own));
        assert_eq!(
            asked(&["api://files/user_impersonation", "api://files/.default"]),
            Ok(Resource::new("api://files"))
        );
        assert_eq!(asked(&["x", "api://a/y"]), Ok(Resource::new("api://a")));
        let several = asked(&["api://a/x", "x", "api://b/x"]);
        assert!(matches!(several, Err(CandidateError::Several(_))), "{several:?}");
        assert!(matches!(
            asked(&["urn:x/y"]),
            Err(CandidateError::Unusual { .. })
        ));
    }

    #[test]
    fn candidate_of_microsoft_is_refused() {
        for scope in [
            "https://graph.microsoft.com/Mail.Read",
            "HTTPS://Graph.Microsoft.com/.default",
            "https://graph.microsoft.com//.default",
            "00000003-0000-0000-c000-000000000000/.default",
            "api://00000003-0000-0000-c000-000000000000/.default",
            "00000003-0000-0000-c000-000000000000/graph.microsoft.com/.default",
            "https://management.azure.com/user_impersonation",
            "https://contoso.sharepoint.com/.default",
        ] {
            assert!(
                matches!(asked(&[scope]), Err(CandidateError::Microsoft { .. })),
                "{scope}"
            );
        }
    }
}
