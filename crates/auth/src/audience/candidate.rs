//! Chooses the resource that a discovered server may ask its user for.

use std::collections::BTreeSet;
use std::iter;

use model::Resource;

use super::allowed::is_scope;
use super::{ConfiguredServer, microsoft_resource};
use crate::discovery::ProtectedResource;
use crate::entra::{is_guid, is_protocol_scope, resource_of};

/// Why a server may not ask for a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CandidateError {
    /// Its scopes name several resources.
    #[error("asks for access to several resources: {}", shown(.0.iter()))]
    Several(Vec<String>),
    /// It is one of Microsoft's own.
    #[error("asks for access to `{resource}`, which is {owner}")]
    Microsoft {
        resource: Resource,
        owner: &'static str,
    },
    /// Another configured server uses it.
    #[error("asks for access to `{resource}`, which the server {server} uses")]
    Taken { resource: Resource, server: String },
    /// It is not an identifier that an application can have.
    #[error(
        "asks for access to `{}`, which is neither api://, https:// nor an application id",
        resource.as_str().escape_default()
    )]
    Unusual { resource: Resource },
}

/// Returns the only resource that the metadata of a server names: that of its scopes, else its own
/// (RFC 9728 §2). Prefers the one that the user approved before, if it is among them.
///
/// # Errors
///
/// [`CandidateError`], if the user must not be asked for it. `uses` returns true if a server uses
/// a resource.
pub(crate) fn candidate(
    described: &ProtectedResource,
    others: &[ConfiguredServer],
    uses: impl Fn(&ConfiguredServer, &str) -> bool,
    approved: Option<&Resource>,
) -> Result<Resource, CandidateError> {
    let scopes = described.scopes.iter();
    let scopes = scopes.filter(|scope| !is_protocol_scope(scope));
    // Bare scopes belong to the resource of the other scopes.
    let mut named: BTreeSet<&str> = scopes.filter_map(|scope| resource_of(scope)).collect();
    let first = named.pop_first().unwrap_or(described.resource.as_str());
    let is_named = |one: &&Resource| one.as_str() == first || named.contains(one.as_str());
    if let Some(approved) = approved.filter(is_named) {
        return Ok(approved.clone());
    }
    if !named.is_empty() {
        let all = iter::once(first).chain(named);
        return Err(CandidateError::Several(all.map(str::to_owned).collect()));
    }
    let resource = Resource::new(first);
    let microsofts = microsoft_resource(resource.as_str());
    if let Some(owner) = microsofts.filter(|_| is_scope(resource.as_str())) {
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

/// Returns true if an application of an organisation can have this identifier: an App ID URI, or
/// an application id.
fn is_usual(resource: &str) -> bool {
    if !is_scope(resource) || resource.contains('#') {
        return false;
    }
    let lower = resource.to_ascii_lowercase();
    let is_loopback = || {
        let endpoint = resource.parse::<model::EndpointUrl>();
        endpoint.is_ok_and(|url| url.is_loopback())
    };
    lower.starts_with("api://") || lower.starts_with("https://") || is_guid(&lower) || is_loopback()
}

impl CandidateError {
    /// Returns the resource that the user could still name in the configuration.
    pub(crate) fn resource(&self) -> String {
        let resource = match self {
            Self::Several(named) => named.first().map_or("", String::as_str),
            Self::Microsoft { resource, .. }
            | Self::Taken { resource, .. }
            | Self::Unusual { resource } => resource.as_str(),
        };
        resource.escape_default().to_string()
    }
}

/// Returns untrusted identifiers without control characters.
fn shown<'a>(resources: impl Iterator<Item = &'a String>) -> String {
    let resources = resources.map(|resource| resource.escape_default().to_string());
    resources.collect::<Vec<_>>().join(", ")
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
        candidate(&described, &[], |_, _| false, None)
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
        assert!(
            matches!(several, Err(CandidateError::Several(_))),
            "{several:?}"
        );
        for unusual in [
            "urn:x/y",
            "api://b/access api://x/y",
            "api://a#b/y",
            "api://\u{1b}[2K/y",
        ] {
            assert!(
                matches!(asked(&[unusual]), Err(CandidateError::Unusual { .. })),
                "{unusual}"
            );
        }
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
