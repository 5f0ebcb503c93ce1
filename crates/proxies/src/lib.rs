//! Finds the proxy for a URL.
//!
//! Owns: the precedence of the configuration, the environment and the operating system.
//! Does not own: the connection through a proxy, which the HTTP clients open.
//!
//! This machine is never reached through a proxy, whatever the settings say.

mod system;

use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use model::config::Proxy;
use model::is_loopback_host;

use system::{ProxyDecision, SystemProxy};

/// The proxies of a configuration. Clones share the system's cached decisions.
#[derive(Clone, Debug)]
pub struct Proxies {
    set: Arc<Matcher>,
    system: Option<Arc<SystemProxy>>,
}

impl Proxies {
    /// Creates the proxies of `proxy`. `system` means the proxy variables of the environment if
    /// there are any, else the system's automatic configuration if there is one, else the proxy in
    /// the system's settings.
    #[must_use]
    pub fn new(proxy: &Proxy) -> Self {
        let set = match proxy {
            Proxy::System => Matcher::from_system(),
            Proxy::None => Matcher::builder().build(),
            Proxy::At(url) => Matcher::builder().all(url.as_str()).build(),
        };
        let asks = *proxy == Proxy::System && variable(&PROXIES).is_none();
        let spared = || variable(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let system = asks.then(|| SystemProxy::of_system(&spared())).flatten();
        Self {
            set: Arc::new(set),
            system: system.map(Arc::new),
        }
    }

    /// Returns the proxy for `destination`, if there is one.
    ///
    /// The system may run a script to decide. This waits for it for up to five seconds, during
    /// which other tasks of a multi-threaded runtime continue. A decision is fresh for a minute,
    /// and is used for ten minutes while the system is asked again.
    #[must_use]
    pub fn proxy_for(&self, destination: &Uri) -> Option<Intercept> {
        if destination.host().is_none_or(is_loopback_host) {
            return None;
        }
        let system = self.system.as_ref();
        match system.map_or(ProxyDecision::Nothing, |system| system.decide(destination)) {
            ProxyDecision::Nothing => self.set.intercept(destination),
            ProxyDecision::Direct => None,
            ProxyDecision::Through(proxy) => proxy.intercept(destination),
        }
    }
}

/// The proxy variables that [`Matcher`] reads.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Returns the first of these variables that is set and not empty.
fn variable(names: &[&str]) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the matcher reads them too, and does not say whether they are there"
    )]
    let read = |name: &&str| std::env::var(name).ok();
    names
        .iter()
        .filter_map(read)
        .find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use model::config::Proxy;

    use super::Proxies;

    #[test]
    fn configured_proxy_is_used_except_for_this_machine() {
        let chosen: Proxy = "http://proxy.example:3128".parse().unwrap();
        let proxies = Proxies::new(&chosen);
        let far = proxies.proxy_for(&"https://far.example/".parse().unwrap());
        assert_eq!(far.unwrap().uri().host(), Some("proxy.example"));
        for here in ["http://127.0.0.1:1/", "https://localhost/", "http://[::1]/"] {
            let here = proxies.proxy_for(&here.parse().unwrap());
            assert!(here.is_none());
        }
    }
}
