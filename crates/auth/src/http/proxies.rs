//! The proxies for requests, and the names of those that were used.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::Uri;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::Intercept;
use reqwest::Proxy;
use url::Url;

/// Finds the proxy for a URL. Clones share the recorded names.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    all: proxies::Proxies,
    /// The host names of the proxies that were used.
    used: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxies {
    /// Creates the proxies of the configuration.
    pub(super) fn new(proxy: &model::config::Proxy) -> Self {
        Self {
            all: proxies::Proxies::new(proxy),
            used: Arc::default(),
        }
    }

    /// Returns the proxy for `url`, or `None` for this machine and if there is none.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<Url> {
        let destination = url.as_str().parse::<Uri>().ok()?;
        let proxy = address(&self.all.proxy_for(&destination)?)?;
        if let Some(name) = proxy.host_str() {
            self.used().insert(name.to_owned());
        }
        Some(proxy)
    }

    /// Returns true if the name is that of a proxy that was used.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.used().contains(name)
    }

    /// Returns the proxies in the form that an HTTP client takes.
    pub(super) fn route(&self) -> Proxy {
        let proxies = self.clone();
        Proxy::custom(move |url| proxies.proxy_for(url))
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(proxy: &Intercept) -> Option<Url> {
    let mut url = Url::parse(&proxy.uri().to_string()).ok()?;
    if let Some(header) = proxy.basic_auth() {
        let encoded = header.to_str().ok()?.strip_prefix("Basic ")?;
        let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        let (name, password) = pair.split_once(':')?;
        url.set_username(name).ok()?;
        url.set_password(Some(password)).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use hyper_util::client::proxy::matcher::Matcher;

    use super::{Proxies, address};

    #[test]
    fn proxy_url_keeps_credentials() {
        let system = Matcher::builder()
            .all("http://user:p%40ss@proxy.example:3128")
            .build();
        let proxy = system.intercept(&"https://far.example/".parse().unwrap());
        let url = address(&proxy.unwrap()).unwrap();
        assert_eq!(url.host_str(), Some("proxy.example"));
        assert_eq!((url.username(), url.port()), ("user", Some(3128)));
        assert_eq!(url.password(), Some("p%40ss"));
    }

    #[test]
    fn proxy_is_recorded_when_used() {
        let proxies = Proxies::new(&"http://proxy.example:3128".parse().unwrap());
        assert!(!proxies.contains("proxy.example"));
        let here = proxies.proxy_for(&"http://127.0.0.1:1/".parse().unwrap());
        assert_eq!(here, None);
        proxies
            .proxy_for(&"https://far.example/".parse().unwrap())
            .unwrap();
        assert!(proxies.contains("proxy.example"));
        assert!(!proxies.contains("far.example"));
    }
}
