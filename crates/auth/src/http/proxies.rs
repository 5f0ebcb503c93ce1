//! The proxies on the way out, and by which of them something went.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::Uri;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::Intercept;
use reqwest::Proxy;
use url::Url;

/// Which proxy leads where. Clones share what was found.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    all: proxies::Proxies,
    /// The names of those that something went through.
    used: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxies {
    /// Those that the configuration chooses.
    pub(super) fn new(proxy: &model::config::Proxy) -> Self {
        Self {
            all: proxies::Proxies::new(proxy),
            used: Arc::default(),
        }
    }

    /// The proxy on the way to `url`; none to this machine.
    pub(super) fn on_the_way_to(&self, url: &Url) -> Option<Url> {
        let destination = url.as_str().parse::<Uri>().ok()?;
        let proxy = address(&self.all.on_the_way_to(&destination)?)?;
        if let Some(name) = proxy.host_str() {
            self.used().insert(name.to_owned());
        }
        Some(proxy)
    }

    /// Whether a name is that of a proxy.
    pub(super) fn is_one(&self, name: &str) -> bool {
        self.used().contains(name)
    }

    /// For a client.
    pub(super) fn route(&self) -> Proxy {
        let proxies = self.clone();
        Proxy::custom(move |url| proxies.on_the_way_to(url))
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
    fn a_proxy_keeps_its_credentials() {
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
    fn a_proxy_is_known_by_what_goes_through_it() {
        let proxies = Proxies::new(&"http://proxy.example:3128".parse().unwrap());
        assert!(!proxies.is_one("proxy.example"));
        let here = proxies.on_the_way_to(&"http://127.0.0.1:1/".parse().unwrap());
        assert_eq!(here, None);
        proxies
            .on_the_way_to(&"https://far.example/".parse().unwrap())
            .unwrap();
        assert!(proxies.is_one("proxy.example"));
        assert!(!proxies.is_one("far.example"));
    }
}
