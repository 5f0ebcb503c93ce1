//! Protected resource metadata (RFC 9728).

use model::{EndpointUrl, Issuer, Resource};
use serde::Deserialize;
use url::Url;

/// The metadata of a protected resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtectedResource {
    /// The resource indicator for tokens, byte for byte.
    pub(crate) resource: Resource,
    /// Its authorization servers, the preferred one first.
    pub(crate) authorization_servers: Vec<Issuer>,
    /// The scopes that it requires.
    pub(crate) scopes: Vec<String>,
}

/// The members of the document that are used.
#[derive(Deserialize)]
pub(super) struct Metadata {
    resource: Resource,
    #[serde(default)]
    authorization_servers: Vec<Issuer>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

impl ProtectedResource {
    /// Accepts the document if it is about `server`: the resource is the server's URL, or a prefix
    /// of it on the same origin that ends at a path segment.
    pub(super) fn read(metadata: Metadata, server: &EndpointUrl) -> Result<Self, String> {
        if !covers(metadata.resource.as_str(), server.url()) {
            return Err(format!(
                "its metadata names the resource `{}`, which does not match its URL",
                metadata.resource
            ));
        }
        Ok(Self {
            resource: metadata.resource,
            authorization_servers: metadata.authorization_servers,
            scopes: metadata.scopes_supported,
        })
    }
}

impl ProtectedResource {
    /// Returns true if the resource covers more than the server's own URL.
    pub(super) fn is_broader_than(&self, server: &EndpointUrl) -> bool {
        let own = server.url();
        let claimed = Url::parse(self.resource.as_str());
        claimed.is_ok_and(|url| {
            let is_above = url.path().trim_end_matches('/') != own.path().trim_end_matches('/');
            is_above || (url.query().is_none() && own.query().is_some())
        })
    }
}

impl Metadata {
    /// Returns true if the document claims the resource byte for byte (RFC 9728 §3.3). Ignores a
    /// trailing slash of an origin, which URLs do not distinguish.
    pub(super) fn claims(&self, resource: &Resource) -> bool {
        let is_origin = || Url::parse(resource.as_str()).is_ok_and(|url| url.path() == "/");
        let [own, other] = [&self.resource, resource].map(Resource::as_str);
        own == other || (is_origin() && own.trim_end_matches('/') == other.trim_end_matches('/'))
    }
}

/// Returns the well-known location of a resource (RFC 9728 §3.1). Returns `None` if it is not a
/// URL that a document can be read from.
pub(super) fn well_known_of(resource: &Resource) -> Option<EndpointUrl> {
    let mut address = Url::parse(resource.as_str()).ok()?;
    let path = address.path().trim_end_matches('/').to_owned();
    address.set_path(&format!("/.well-known/oauth-protected-resource{path}"));
    address.as_str().parse().ok()
}

/// Returns true if the resource is the server's URL, or a prefix of it that ends at a path
/// segment. A resource has no fragment (RFC 8707 §2) and no user name.
pub(crate) fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    if resource.fragment().is_some() || !resource.username().is_empty() {
        return false;
    }
    let part = resource.path().trim_end_matches('/');
    resource.origin() == server.origin()
        && server
            .path()
            .strip_prefix(part)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        && resource
            .query()
            .is_none_or(|query| server.query() == Some(query))
}

/// Returns the possible locations of the document: under the server's path first, then at the
/// root.
pub(super) fn well_known(server: &Url) -> Vec<EndpointUrl> {
    let mut addresses = Vec::new();
    let path = server.path().trim_end_matches('/');
    for path in [path, ""] {
        let mut address = server.clone();
        address.set_path(&format!("/.well-known/oauth-protected-resource{path}"));
        if path.is_empty() {
            address.set_query(None);
        }
        let address = address.as_str().parse();
        addresses.extend(address.ok().filter(|address| !addresses.contains(address)));
    }
    addresses
}

#[cfg(test)]
mod tests {
    use model::EndpointUrl;

    use super::{covers, well_known};

    #[test]
    fn well_known_locations_are_path_then_root() {
        let at = |server: &str| -> Vec<String> {
            let addresses = well_known(&server.parse().unwrap());
            addresses.iter().map(EndpointUrl::to_string).collect()
        };
        let root = "https://x.example/.well-known/oauth-protected-resource";
        assert_eq!(
            at("https://x.example/a/mcp?b=c"),
            [format!("{root}/a/mcp?b=c"), root.to_owned()]
        );
        assert_eq!(at("https://x.example/"), [root]);
        assert_eq!(at("https://x.example"), [root]);
    }

    #[test]
    fn resource_covers_urls_below_it() {
        let covers = |resource: &str, server: &str| covers(resource, &server.parse().unwrap());
        for resource in [
            "https://x.example/a/mcp",
            "https://x.example/a/",
            "https://x.example/a",
            "https://x.example/",
            "https://x.example",
            "https://X.example:443",
        ] {
            assert!(covers(resource, "https://x.example/a/mcp"), "{resource}");
        }
        for resource in [
            "https://x.example/a/m",
            "https://x.example/a/mcp/b",
            "https://x.example/b",
            "https://y.example/a/mcp",
            "http://x.example/a/mcp",
            "https://x.example/a/mcp?x",
            "api://1234",
            "",
        ] {
            assert!(!covers(resource, "https://x.example/a/mcp"), "{resource}");
        }
    }
}
