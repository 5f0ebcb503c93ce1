//! The system's automatic proxy configuration: a script (`proxy.pac`) of the organisation that
//! decides for each destination.
//!
//! Owns: when to ask the system, and how long its decision is cached. The system finds, runs and
//! caches the script. No untrusted code runs in this process.

#[cfg_attr(target_os = "linux", path = "system/linux.rs")]
#[cfg_attr(windows, path = "system/windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "system/none.rs")]
mod platform;

use std::collections::HashMap;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// How long a decision is fresh. The network may change at any time.
const FRESH_FOR: Duration = Duration::from_secs(60);

/// How long a stale decision is used while the system is asked again.
const STALE_FOR: Duration = Duration::from_secs(10 * 60);

/// The timeout of a decision. The system may search for a script that does not exist, or download
/// one from a server that does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout for connecting to a proxy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum number of cached destinations.
const MAX_ENTRIES: usize = 256;

/// Asks the system for a destination. Returns the proxies, the preferred one first: URLs, or a
/// host and a port of an HTTP proxy, or `direct://` for none. Returns `None` if the system has no
/// automatic configuration.
type Lookup = fn(&str) -> Option<Vec<String>>;

/// Which proxy to use.
#[derive(Clone, Debug)]
pub(crate) enum ProxyDecision {
    /// The system does not decide.
    Nothing,
    /// No proxy.
    Direct,
    /// Through this proxy.
    Through(Arc<Matcher>),
}

/// Caches the system's decisions.
pub(crate) struct SystemProxy {
    lookup: Lookup,
    /// Matches all destinations for which the system is asked.
    destinations: Matcher,
    known: Mutex<HashMap<String, CachedDecision>>,
    changed: Condvar,
}

#[derive(Default)]
struct CachedDecision {
    decision: Option<(ProxyDecision, Instant)>,
    /// When the system was asked, if it has not answered yet.
    asked: Option<Instant>,
}

impl CachedDecision {
    /// Returns the decision if it is younger than `time`.
    fn younger_than(&self, time: Duration) -> Option<ProxyDecision> {
        let (decision, since) = self.decision.as_ref()?;
        (since.elapsed() < time).then(|| decision.clone())
    }

    /// Returns true if the system was asked and may still answer before the timeout.
    fn is_pending(&self) -> bool {
        self.asked.is_some_and(|since| since.elapsed() < TIMEOUT)
    }
}

impl SystemProxy {
    /// Creates the cache, or returns `None` if this system cannot be asked. The system is not
    /// asked for the hosts in `spared`, which has the syntax of `NO_PROXY`.
    pub(crate) fn of_system(spared: &str) -> Option<Self> {
        platform::LOOKUP.map(|lookup| Self::new(lookup, spared))
    }

    fn new(lookup: Lookup, spared: &str) -> Self {
        let destinations = Matcher::builder().all("http://any.invalid").no(spared);
        Self {
            lookup,
            destinations: destinations.build(),
            known: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Returns the decision for `destination`. If the system does not answer in time, returns its
    /// last decision.
    pub(crate) fn decide(self: &Arc<Self>, destination: &Uri) -> ProxyDecision {
        if self.destinations.intercept(destination).is_none() {
            return ProxyDecision::Nothing;
        }
        // Like browsers, does not disclose the path and the query to the script.
        let (Some(scheme), Some(authority)) = (destination.scheme_str(), destination.authority())
        else {
            return ProxyDecision::Nothing;
        };
        let origin = format!("{scheme}://{authority}/");
        let mut known = self.known();
        if known.len() > MAX_ENTRIES {
            known.retain(|_, known| known.is_pending());
        }
        let entry = known.entry(origin.clone()).or_default();
        if let Some(decision) = entry.younger_than(FRESH_FOR) {
            return decision;
        }
        let meanwhile = entry.younger_than(STALE_FOR);
        if entry.asked.is_none_or(|since| since.elapsed() > FRESH_FOR) {
            entry.asked = Some(Instant::now());
            let (this, origin) = (Arc::clone(self), origin.clone());
            let asking = thread::Builder::new().name("proxies".to_owned());
            if let Err(error) = asking.spawn(move || this.learn(origin)) {
                tracing::warn!(%error, "the system cannot be asked for proxies");
                return ProxyDecision::Nothing;
            }
        }
        drop(known);
        meanwhile.unwrap_or_else(|| threads::blocking(|| self.wait(&origin)))
    }

    fn learn(&self, origin: String) {
        let entries = (self.lookup)(&origin);
        let decision = entries.map_or(ProxyDecision::Nothing, |entries| {
            choose(&entries, is_reachable)
        });
        tracing::debug!(origin, ?decision, "the system's proxy decision");
        let known = CachedDecision {
            decision: Some((decision, Instant::now())),
            asked: None,
        };
        self.known().insert(origin, known);
        self.changed.notify_all();
    }

    fn wait(&self, origin: &str) -> ProxyDecision {
        let is_pending = |known: &mut HashMap<String, CachedDecision>| {
            known.get(origin).is_some_and(CachedDecision::is_pending)
        };
        let known = self.known();
        let asked = known.get(origin).and_then(|known| known.asked);
        let left = TIMEOUT.saturating_sub(asked.map_or(TIMEOUT, |since| since.elapsed()));
        let waited = self.changed.wait_timeout_while(known, left, is_pending);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let last = known.get(origin).and_then(|known| known.decision.clone());
        last.map_or(ProxyDecision::Nothing, |(decision, _)| decision)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, CachedDecision>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SystemProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemProxy").finish_non_exhaustive()
    }
}

/// Chooses the first proxy that is reachable, like browsers. The last one is not checked.
fn choose(entries: &[String], is_reachable: impl Fn(&Uri) -> bool) -> ProxyDecision {
    let mut proxies = entries
        .iter()
        .filter_map(|entry| parse_entry(entry))
        .peekable();
    while let Some(entry) = proxies.next() {
        match entry {
            Some(proxy) if proxies.peek().is_none() || is_reachable(&proxy) => {
                let proxy = Matcher::builder().all(proxy.to_string()).build();
                return ProxyDecision::Through(Arc::new(proxy));
            }
            Some(proxy) => {
                tracing::debug!(%proxy, "the proxy is not reachable, trying the next one")
            }
            None => return ProxyDecision::Direct,
        }
    }
    ProxyDecision::Nothing
}

/// Parses an entry. Returns `Some(None)` for a direct connection, and `None` for an unknown kind.
fn parse_entry(entry: &str) -> Option<Option<Uri>> {
    let (scheme, at) = entry.split_once("://").unwrap_or(("http", entry));
    let scheme = match scheme {
        "direct" => return Some(None),
        "http" | "https" => scheme,
        // Like browsers, lets the proxy resolve names.
        "socks" | "socks5" | "socks5h" => "socks5h",
        _ => return None,
    };
    let at = at.trim_end_matches('/');
    format!("{scheme}://{at}/").parse().ok().map(Some)
}

fn is_reachable(proxy: &Uri) -> bool {
    let usual = match proxy.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => 1080,
    };
    let host = proxy.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, proxy.port_u16().unwrap_or(usual)).to_socket_addrs();
    let mut found = found.into_iter().flatten();
    found.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Condvar, Mutex};

    use http::Uri;

    use super::{Lookup, ProxyDecision, SystemProxy, TIMEOUT, choose, is_reachable};

    fn chosen(entries: &[&str], destination: &'static str) -> Option<String> {
        let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
        match choose(&entries, |proxy| proxy.host() != Some("absent")) {
            ProxyDecision::Through(proxy) => {
                let proxy = proxy.intercept(&Uri::from_static(destination))?;
                Some(proxy.uri().to_string())
            }
            ProxyDecision::Direct => Some("direct".to_owned()),
            ProxyDecision::Nothing => None,
        }
    }

    #[test]
    fn first_reachable_proxy_is_chosen() {
        let far = "https://far.example/";
        let portal = ["socks4://a:1080", "socks5://b:1080", "direct://"];
        assert_eq!(chosen(&portal, far).unwrap(), "socks5h://b:1080/");
        assert_eq!(
            chosen(&["c:3128", "d:3128"], far).unwrap(),
            "http://c:3128/"
        );
        let second = chosen(&["absent:1", "d:3128"], far);
        assert_eq!(second.unwrap(), "http://d:3128/");
        assert_eq!(chosen(&["absent:1", "direct://"], far).unwrap(), "direct");
        assert_eq!(chosen(&["absent:1"], far).unwrap(), "http://absent:1/");
        assert_eq!(chosen(&["https://e"], far).unwrap(), "https://e/");
        assert_eq!(chosen(&["direct://", "f:1"], far).unwrap(), "direct");
        assert_eq!(chosen(&["quic://g:1"], far), None);
        assert_eq!(chosen(&[], far), None);
    }

    #[test]
    fn proxy_is_reachable_if_connect_succeeds() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy: Uri = format!("http://{address}/").parse().unwrap();
        assert!(is_reachable(&proxy));
        drop(listener);
        assert!(!is_reachable(&proxy));
    }

    #[test]
    fn blocking_lookup_lets_other_tasks_run() {
        static OTHER: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let lookup: Lookup = |_| {
            let (has_run, changed) = &OTHER;
            let waiting = has_run.lock().unwrap();
            let waited = changed.wait_timeout_while(waiting, TIMEOUT, |has_run| !*has_run);
            let (has_run, _) = waited.unwrap();
            has_run.then(|| vec!["proxy:3128".to_owned()])
        };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().unwrap();
        let decision = runtime.block_on(async {
            let asking = tokio::spawn(async move {
                tokio::spawn(async {
                    *OTHER.0.lock().unwrap() = true;
                    OTHER.1.notify_all();
                });
                let system = Arc::new(SystemProxy::new(lookup, ""));
                system.decide(&Uri::from_static("https://far.example/"))
            });
            asking.await.unwrap()
        });
        assert!(
            matches!(decision, ProxyDecision::Through(_)),
            "{decision:?}"
        );
    }

    #[test]
    fn lookup_runs_once_per_origin_without_path() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let lookup: Lookup = |url| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            assert_eq!(url, "https://far.example:8443/");
            Some(vec!["proxy:3128".to_owned()])
        };
        let system = Arc::new(SystemProxy::new(lookup, "spared.example"));
        let spared = system.decide(&Uri::from_static("https://spared.example/"));
        assert!(matches!(spared, ProxyDecision::Nothing), "{spared:?}");
        for path in ["one?code=secret", "two"] {
            let url = format!("https://far.example:8443/{path}");
            let decision = system.decide(&url.parse().unwrap());
            assert!(
                matches!(decision, ProxyDecision::Through(_)),
                "{decision:?}"
            );
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
