//! Which proxy leads to a URL.
//!
//! Owns: the order in which the configuration, the environment and the operating system are
//! asked. Does not own: the way through a proxy, which is the HTTP clients' affair.
//!
//! This machine is never reached through a proxy, whatever the settings say.

mod automatic;

use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use model::config::Proxy;
use model::is_loopback_host;

use automatic::{Answer, Automatic};

/// The proxies that a configuration chooses. Clones share what the system answered.
#[derive(Clone, Debug)]
pub struct Proxies {
    set: Arc<Matcher>,
    automatic: Option<Arc<Automatic>>,
}

impl Proxies {
    /// Those of `proxy`. Of the system's own, what the environment says of proxies counts alone if
    /// it says anything; else what the system makes of its automatic configuration, if there is
    /// one; else the proxy that is set there.
    #[must_use]
    pub fn new(proxy: &Proxy) -> Self {
        let set = match proxy {
            Proxy::System => Matcher::from_system(),
            Proxy::None => Matcher::builder().build(),
            Proxy::At(url) => Matcher::builder().all(url.as_str()).build(),
        };
        let asks = *proxy == Proxy::System && variable(&PROXIES).is_none();
        let spared = || variable(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let automatic = asks.then(|| Automatic::of_system(&spared())).flatten();
        Self {
            set: Arc::new(set),
            automatic: automatic.map(Arc::new),
        }
    }

    /// The proxy on the way to `destination`, if there is one.
    ///
    /// The system may run a script to know it. That is waited for five seconds at most, during
    /// which a runtime with several threads goes on. What it answers holds for a minute, and serves
    /// for ten while it is asked again.
    #[must_use]
    pub fn on_the_way_to(&self, destination: &Uri) -> Option<Intercept> {
        if destination.host().is_none_or(is_loopback_host) {
            return None;
        }
        let automatic = self.automatic.as_ref();
        match automatic.map_or(Answer::Nothing, |automatic| automatic.answer(destination)) {
            Answer::Nothing => self.set.intercept(destination),
            Answer::Direct => None,
            Answer::Through(proxy) => proxy.intercept(destination),
        }
    }
}

/// The variables that name proxies, as [`Matcher`] reads them.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The first of these variables that is there and not empty.
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
    fn a_chosen_proxy_leads_everywhere_but_to_this_machine() {
        let chosen: Proxy = "http://proxy.example:3128".parse().unwrap();
        let proxies = Proxies::new(&chosen);
        let far = proxies.on_the_way_to(&"https://far.example/".parse().unwrap());
        assert_eq!(far.unwrap().uri().host(), Some("proxy.example"));
        for here in ["http://127.0.0.1:1/", "https://localhost/", "http://[::1]/"] {
            let here = proxies.on_the_way_to(&here.parse().unwrap());
            assert!(here.is_none());
        }
    }
}
