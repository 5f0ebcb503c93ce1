//! The servers: those of the configuration, and those that a host named by URL.

mod server;
mod sign_in_lookup;
mod tokens;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::api::{Problem, ProblemKind};
use model::config::{BridgeConfig, ServerConfig};
use model::{EndpointUrl, ServerName};

pub(crate) use server::Server;
pub(crate) use sign_in_lookup::{SignInLookup, names_metadata};
use tokio::sync::Notify;

use crate::server_cache::CacheFile;

/// All servers.
#[derive(Debug)]
pub(crate) struct Registry {
    cache_dir: PathBuf,
    /// Notified when the file of a server is due.
    due: Arc<Notify>,
    servers: Mutex<BTreeMap<ServerName, Arc<Server>>>,
}

impl Registry {
    pub(crate) fn new(cache_dir: PathBuf) -> Self {
        Self {
            cache_dir,
            due: Arc::default(),
            servers: Mutex::default(),
        }
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<ServerName, Arc<Server>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the configuration. An unchanged server keeps what is known of it. Sessions with a
    /// changed or removed server are notified. A server that a host named by URL is replaced by a
    /// configured one with the same name or URL.
    pub(crate) fn configure(&self, config: &BridgeConfig) {
        let mut servers = self.servers();
        let before = std::mem::take(&mut *servers);
        for (name, wanted) in &config.servers {
            let same = before
                .get(name)
                .filter(|server| !server.ephemeral && server.config == *wanted);
            let server = same.cloned().unwrap_or_else(|| {
                let before = before.get(name).map(|before| &**before);
                let file = || {
                    let path = self.cache_dir.join(format!("{name}.json"));
                    CacheFile::new(path, Arc::clone(&self.due))
                };
                let (name, wanted) = (name.clone(), wanted.clone());
                Arc::new(Server::configured(name, wanted, before, file))
            });
            servers.insert(name.clone(), server);
        }
        for (name, server) in before {
            let url = &server.config.url;
            let is_configured = |wanted: &ServerConfig| wanted.url == *url;
            if server.ephemeral
                && !config.servers.contains_key(&name)
                && !config.servers.values().any(is_configured)
            {
                servers.insert(name, server);
            } else if !is_among(&servers, &server) {
                server.replaced.cancel();
            }
        }
    }

    /// Removes a server that a host named by URL. Returns true if there was one.
    pub(crate) fn forget_ephemeral(&self, name: &ServerName) -> bool {
        let mut servers = self.servers();
        if !servers.get(name).is_some_and(|server| server.ephemeral) {
            return false;
        }
        if let Some(server) = servers.remove(name) {
            server.replaced.cancel();
        }
        true
    }

    /// Returns the server that replaced `of`.
    pub(crate) fn successor(&self, of: &Server) -> Option<Arc<Server>> {
        let servers = self.servers();
        let same_url = |server: &&Arc<Server>| server.config.url == of.config.url;
        let by_url = || servers.values().find(same_url).filter(|_| of.ephemeral);
        servers.get(&of.name).or_else(by_url).cloned()
    }

    /// Returns once the cache of a server has changed since the last call.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// Writes the caches that are due. Blocks.
    pub(crate) fn save(&self) {
        for server in self.all() {
            server.save_if_due();
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Server>> {
        self.servers().values().cloned().collect()
    }

    /// Returns the server with that name.
    pub(crate) fn named(&self, name: &str) -> Result<Arc<Server>, Problem> {
        let servers = self.servers();
        let found = name
            .parse::<ServerName>()
            .ok()
            .and_then(|name| servers.get(&name).cloned());
        found.ok_or_else(|| {
            let known: Vec<&str> = servers.keys().map(ServerName::as_str).collect();
            let hint = match known.as_slice() {
                [] => "there are none yet: add one with `postern servers add NAME URL`".to_owned(),
                known => format!(
                    "the servers are: {}; `postern servers add NAME URL` adds one",
                    known.join(", ")
                ),
            };
            Problem::new(
                ProblemKind::NotFound,
                format!("there is no server `{name}`"),
            )
            .with_hint(hint)
        })
    }

    /// Returns the server with that name or URL. Creates one that lasts as long as the bridge if no
    /// server has that URL.
    pub(crate) fn named_or_at(&self, text: &str) -> Result<Arc<Server>, Problem> {
        if !text.contains("://") {
            return self.named(text);
        }
        let mut servers = self.servers();
        let is_at = |server: &&Arc<Server>| server.config.url.as_str() == text;
        if let Some(found) = servers.values().find(is_at) {
            return Ok(Arc::clone(found));
        }
        let url: EndpointUrl = text.parse().map_err(|error: model::UrlError| {
            Problem::from_text(ProblemKind::Invalid, &error.to_string())
        })?;
        let config = ServerConfig::at(url);
        let name = free_name(&servers, &config.url)?;
        let server = Arc::new(Server::ephemeral(name.clone(), config));
        servers.insert(name, Arc::clone(&server));
        Ok(server)
    }
}

fn is_among(servers: &BTreeMap<ServerName, Arc<Server>>, server: &Arc<Server>) -> bool {
    let known = servers.get(&server.name);
    known.is_some_and(|known| Arc::ptr_eq(known, server))
}

/// Returns an unused name that starts with the URL's host.
fn free_name(
    taken: &BTreeMap<ServerName, Arc<Server>>,
    url: &EndpointUrl,
) -> Result<ServerName, Problem> {
    let host: String = url
        .url()
        .host_str()
        .unwrap_or("server")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(50)
        .collect();
    let host = host.trim_matches('-');
    (1..=taken.len() + 1)
        .map(|n| {
            if n == 1 {
                host.to_owned()
            } else {
                format!("{host}-{n}")
            }
        })
        .filter_map(|name| name.parse::<ServerName>().ok())
        .find(|name| !taken.contains_key(name))
        .ok_or_else(|| {
            Problem::new(
                ProblemKind::Invalid,
                format!("no name can be made for {}", url.shown()),
            )
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Registry;

    fn config(text: &str) -> model::config::BridgeConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn lookup_by_url_prefers_configured_server() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().to_owned());
        registry.configure(&config("[servers.mine]\nurl = 'https://a.example/mcp'"));
        assert_eq!(
            registry
                .named_or_at("https://a.example/mcp")
                .unwrap()
                .name
                .as_str(),
            "mine"
        );
        let other = registry.named_or_at("https://a.example/mcp/").unwrap();
        assert!(other.ephemeral);
        assert_eq!(other.name.as_str(), "a-example");
        assert!(Arc::ptr_eq(
            &other,
            &registry.named_or_at("https://a.example/mcp/").unwrap()
        ));
        assert_eq!(
            registry
                .named_or_at("https://a.example/x")
                .unwrap()
                .name
                .as_str(),
            "a-example-2"
        );
        assert!(
            registry
                .named("nope")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("mine")
        );
        assert!(registry.named_or_at("http://far.example/mcp").is_err());
    }

    #[test]
    fn reload_keeps_unchanged_servers() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path().to_owned());
        registry.configure(&config(
            "[servers.a]\nurl = 'https://a.example/'\n[servers.b]\nurl = 'https://b.example/'",
        ));
        let (a, b) = (registry.named("a").unwrap(), registry.named("b").unwrap());
        registry.named_or_at("https://c.example/").unwrap();
        registry.configure(&config(
            "[servers.a]\nurl = 'https://a.example/'\n[servers.b]\nurl = 'https://b2.example/'",
        ));
        assert!(Arc::ptr_eq(&a, &registry.named("a").unwrap()));
        assert!(!Arc::ptr_eq(&b, &registry.named("b").unwrap()));
        assert_eq!(registry.all().len(), 3);
    }
}
