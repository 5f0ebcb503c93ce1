//! The MCP servers behind the gateway, found by name, by path and by resource identifier.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use model::ServerName;
use model::config::gateway::{BackendConfig, BackendUrl, GatewayConfig};
use secrecy::{ExposeSecret as _, SecretString};

use crate::scope::Scopes;
use crate::secrets::Secrets;

/// One server.
pub(crate) struct Server {
    pub(crate) name: ServerName,
    /// The name that users see.
    pub(crate) title: String,
    /// The scopes that a session needs for it.
    pub(crate) scopes: Scopes,
    pub(crate) url: Uri,
    pub(crate) sse_url: Option<Uri>,
    /// The headers that are added to every request to it. Their values are marked sensitive.
    pub(crate) injected: HeaderMap,
    /// The secrets in these headers and in the queries of the URLs.
    pub(crate) secrets: Vec<SecretString>,
}

/// All of them.
pub(crate) struct Servers {
    issuer: String,
    by_name: BTreeMap<ServerName, Arc<Server>>,
    root: Option<Arc<Server>>,
}

impl Servers {
    pub(crate) fn new(config: &GatewayConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, server) in &config.servers {
            let server = Server::new(name, server, secrets)
                .with_context(|| format!("in [servers.{name}]"))?;
            by_name.insert(name.clone(), Arc::new(server));
        }
        let root = config
            .root_server
            .as_ref()
            .and_then(|name| by_name.get(name))
            .cloned();
        Ok(Self {
            issuer: config.public_url.as_str().to_owned(),
            by_name,
            root,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Server>> {
        self.by_name.get(&name.parse::<ServerName>().ok()?)
    }

    pub(crate) fn root(&self) -> Option<&Arc<Server>> {
        self.root.as_ref()
    }

    /// Returns the server for clients that name none.
    pub(crate) fn default(&self) -> Option<&Arc<Server>> {
        let only = || {
            self.by_name
                .values()
                .next()
                .filter(|_| self.by_name.len() == 1)
        };
        self.root().or_else(only)
    }

    /// Returns the server whose resource identifier is `resource`, byte for byte (RFC 8707). The
    /// issuer itself stands for the default server, with the slash that URL types add or without.
    pub(crate) fn of_resource(&self, resource: &str) -> Option<&Arc<Server>> {
        self.of_path(resource.strip_prefix(&self.issuer)?)
    }

    /// Returns the server with a protected resource at `path`.
    pub(crate) fn of_path(&self, path: &str) -> Option<&Arc<Server>> {
        match path {
            "" | "/" => self.default(),
            "/mcp" | "/mcp/sse" => self.root(),
            _ => {
                let (name, face) = path.strip_prefix('/')?.split_once('/')?;
                let server = self.get(name)?;
                let exists = face == "mcp" || (face == "sse" && server.sse_url.is_some());
                exists.then_some(server)
            }
        }
    }

    /// Returns every scope of every server.
    pub(crate) fn scopes(&self) -> Scopes {
        let all = self
            .by_name
            .values()
            .flat_map(|server| server.scopes.iter());
        Scopes::new(all.map(str::to_owned))
    }
}

impl Server {
    fn new(name: &ServerName, config: &BackendConfig, secrets: &Secrets) -> anyhow::Result<Self> {
        let mut injected = HeaderMap::new();
        let mut named = Vec::new();
        for (header, text) in &config.headers {
            named.extend(secrets.named(text)?);
            let mut value = HeaderValue::from_str(secrets.fill(text)?.expose_secret())
                .ok()
                .with_context(|| format!("the value of the header {header} has line breaks"))?;
            value.set_sensitive(true);
            injected.insert(HeaderName::try_from(header)?, value);
        }
        let urls = [Some(&config.url), config.sse_url.as_ref()];
        named.extend(urls.into_iter().flatten().flat_map(query_values));
        Ok(Self {
            name: name.clone(),
            title: config.title.clone().unwrap_or_else(|| name.to_string()),
            scopes: Scopes::new(config.scopes.iter().cloned()),
            url: uri(config.url.url())?,
            sse_url: config
                .sse_url
                .as_ref()
                .map(|url| uri(url.url()))
                .transpose()?,
            injected,
            secrets: named,
        })
    }
}

/// Shorter values in a query are not keys.
const SHORTEST_KEY: usize = 16;

/// Returns the values in the query of a URL that may be keys, both as written and decoded.
fn query_values(url: &BackendUrl) -> Vec<SecretString> {
    let url = url.url();
    let written = url.query().unwrap_or_default().split('&');
    let written = written.filter_map(|pair| Some(pair.split_once('=')?.1.to_owned()));
    let decoded = url.query_pairs().map(|(_, value)| value.into_owned());
    let values = written.chain(decoded);
    values
        .filter(|value| value.len() >= SHORTEST_KEY)
        .map(SecretString::from)
        .collect()
}

fn uri(url: &url::Url) -> anyhow::Result<Uri> {
    Uri::try_from(url.as_str()).with_context(|| format!("{url} cannot be requested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_query_values_are_secrets() {
        let values = |text: &str| -> Vec<String> {
            let url = text.parse().unwrap();
            let values = query_values(&url);
            values
                .iter()
                .map(|value| value.expose_secret().to_owned())
                .collect()
        };
        assert_eq!(values("http://b/mcp"), [""; 0]);
        assert_eq!(
            values("http://b/mcp?code=0123456789abcdef%3D&v=1"),
            ["0123456789abcdef%3D", "0123456789abcdef="]
        );
    }
}
