//! What the system makes of an automatic configuration: a script (`proxy.pac`) that the
//! organisation hands out, which is asked for each destination.
//!
//! Owns: when the system is asked and how long its answer holds. The system finds the script,
//! runs it and keeps it; no code of strangers runs in this process.

#[cfg_attr(target_os = "linux", path = "automatic/linux.rs")]
#[cfg_attr(windows, path = "automatic/windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "automatic/none.rs")]
mod system;

use std::collections::HashMap;
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// How long an answer holds: networks change beneath a program.
const HOLDS: Duration = Duration::from_secs(60);

/// How long it is still used while the system is asked again.
const SERVES: Duration = Duration::from_secs(10 * 60);

/// How long the system is waited for. It may look for a script that nobody offers, or that comes
/// from where nobody answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a proxy may take to be there.
const NEAR: Duration = Duration::from_secs(2);

/// How many destinations are remembered.
const MOST: usize = 256;

/// What the system says of a destination, best proxy first: URLs, or a host and a port of an HTTP
/// proxy; `direct://` for none. Nothing where it has no say.
type Ask = fn(&str) -> Option<Vec<String>>;

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The system has no say.
    Nothing,
    /// No proxy.
    Direct,
    /// This one.
    Through(Arc<Matcher>),
}

/// The system's answers.
pub(crate) struct Automatic {
    ask: Ask,
    /// Leads to all that the system is asked for.
    asked_for: Matcher,
    known: Mutex<HashMap<String, Known>>,
    news: Condvar,
}

#[derive(Default)]
struct Known {
    answer: Option<(Answer, Instant)>,
    /// Since when the system owes an answer.
    asked: Option<Instant>,
}

impl Known {
    /// The answer, if it is younger than that.
    fn within(&self, time: Duration) -> Option<Answer> {
        let (answer, since) = self.answer.as_ref()?;
        (since.elapsed() < time).then(|| answer.clone())
    }

    /// Whether the system has been asked and may still answer in time.
    fn is_awaited(&self) -> bool {
        self.asked.is_some_and(|since| since.elapsed() < PATIENCE)
    }
}

impl Automatic {
    /// Where the system can be asked. It is not asked for what `spared` lists, as `NO_PROXY` does.
    pub(crate) fn of_system(spared: &str) -> Option<Self> {
        system::ASK.map(|ask| Self::new(ask, spared))
    }

    fn new(ask: Ask, spared: &str) -> Self {
        let asked_for = Matcher::builder().all("http://any.invalid").no(spared);
        Self {
            ask,
            asked_for: asked_for.build(),
            known: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// What is to be done to reach `destination`: as the system says, or said last if it does not
    /// answer in time.
    pub(crate) fn answer(self: &Arc<Self>, destination: &Uri) -> Answer {
        if self.asked_for.intercept(destination).is_none() {
            return Answer::Nothing;
        }
        // Scripts are not told what is asked of whom (path and query), as browsers do.
        let (Some(scheme), Some(authority)) = (destination.scheme_str(), destination.authority())
        else {
            return Answer::Nothing;
        };
        let origin = format!("{scheme}://{authority}/");
        let mut known = self.known();
        if known.len() > MOST {
            known.retain(|_, known| known.is_awaited());
        }
        let entry = known.entry(origin.clone()).or_default();
        if let Some(answer) = entry.within(HOLDS) {
            return answer;
        }
        let meanwhile = entry.within(SERVES);
        if entry.asked.is_none_or(|since| since.elapsed() > HOLDS) {
            entry.asked = Some(Instant::now());
            let (this, origin) = (Arc::clone(self), origin.clone());
            let asking = thread::Builder::new().name("proxies".to_owned());
            if let Err(error) = asking.spawn(move || this.learn(origin)) {
                tracing::warn!(%error, "the system cannot be asked for proxies");
                return Answer::Nothing;
            }
        }
        drop(known);
        meanwhile.unwrap_or_else(|| threads::blocking(|| self.wait(&origin)))
    }

    fn learn(&self, origin: String) {
        let said = (self.ask)(&origin);
        let answer = said.map_or(Answer::Nothing, |said| choice(&said, is_there));
        tracing::debug!(origin, ?answer, "what the system says of proxies");
        let known = Known {
            answer: Some((answer, Instant::now())),
            asked: None,
        };
        self.known().insert(origin, known);
        self.news.notify_all();
    }

    fn wait(&self, origin: &str) -> Answer {
        let is_awaited =
            |known: &mut HashMap<String, Known>| known.get(origin).is_some_and(Known::is_awaited);
        let known = self.known();
        let asked = known.get(origin).and_then(|known| known.asked);
        let left = PATIENCE.saturating_sub(asked.map_or(PATIENCE, |since| since.elapsed()));
        let waited = self.news.wait_timeout_while(known, left, is_awaited);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let last = known.get(origin).and_then(|known| known.answer.clone());
        last.map_or(Answer::Nothing, |(answer, _)| answer)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Automatic").finish_non_exhaustive()
    }
}

/// The first way whose proxy is there, as browsers choose; the last is taken as it is.
fn choice(said: &[String], is_there: impl Fn(&Uri) -> bool) -> Answer {
    let mut ways = said.iter().filter_map(|way| way_of(way)).peekable();
    while let Some(way) = ways.next() {
        match way {
            Some(proxy) if ways.peek().is_none() || is_there(&proxy) => {
                let proxy = Matcher::builder().all(proxy.to_string()).build();
                return Answer::Through(Arc::new(proxy));
            }
            Some(proxy) => tracing::debug!(%proxy, "nobody is there, and there is another way"),
            None => return Answer::Direct,
        }
    }
    Answer::Nothing
}

/// A proxy, or none for the direct way; nothing where the way is of no kind that is known here.
fn way_of(said: &str) -> Option<Option<Uri>> {
    let (scheme, at) = said.split_once("://").unwrap_or(("http", said));
    let scheme = match scheme {
        "direct" => return Some(None),
        "http" | "https" => scheme,
        // Names are resolved there, as browsers do.
        "socks" | "socks5" | "socks5h" => "socks5h",
        _ => return None,
    };
    let at = at.trim_end_matches('/');
    format!("{scheme}://{at}/").parse().ok().map(Some)
}

fn is_there(proxy: &Uri) -> bool {
    let usual = match proxy.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => 1080,
    };
    let host = proxy.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, proxy.port_u16().unwrap_or(usual)).to_socket_addrs();
    let mut found = found.into_iter().flatten();
    found.any(|address| TcpStream::connect_timeout(&address, NEAR).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Condvar, Mutex};

    use http::Uri;

    use super::{Answer, Ask, Automatic, PATIENCE, choice, is_there};

    fn chosen(said: &[&str], destination: &'static str) -> Option<String> {
        let said: Vec<_> = said.iter().map(|&way| way.to_owned()).collect();
        match choice(&said, |proxy| proxy.host() != Some("nobody")) {
            Answer::Through(proxy) => {
                let proxy = proxy.intercept(&Uri::from_static(destination))?;
                Some(proxy.uri().to_string())
            }
            Answer::Direct => Some("direct".to_owned()),
            Answer::Nothing => None,
        }
    }

    #[test]
    fn the_first_way_that_leads_somewhere_is_gone() {
        let far = "https://far.example/";
        let portal = ["socks4://a:1080", "socks5://b:1080", "direct://"];
        assert_eq!(chosen(&portal, far).unwrap(), "socks5h://b:1080/");
        assert_eq!(
            chosen(&["c:3128", "d:3128"], far).unwrap(),
            "http://c:3128/"
        );
        let second = chosen(&["nobody:1", "d:3128"], far);
        assert_eq!(second.unwrap(), "http://d:3128/");
        assert_eq!(chosen(&["nobody:1", "direct://"], far).unwrap(), "direct");
        assert_eq!(chosen(&["nobody:1"], far).unwrap(), "http://nobody:1/");
        assert_eq!(chosen(&["https://e"], far).unwrap(), "https://e/");
        assert_eq!(chosen(&["direct://", "f:1"], far).unwrap(), "direct");
        assert_eq!(chosen(&["quic://g:1"], far), None);
        assert_eq!(chosen(&[], far), None);
    }

    #[test]
    fn a_proxy_is_there_if_it_can_be_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy: Uri = format!("http://{address}/").parse().unwrap();
        assert!(is_there(&proxy));
        drop(listener);
        assert!(!is_there(&proxy));
    }

    #[test]
    fn system_that_blocks_lets_other_tasks_run() {
        static OTHER: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let ask: Ask = |_| {
            let (has_run, news) = &OTHER;
            let waiting = has_run.lock().unwrap();
            let waited = news.wait_timeout_while(waiting, PATIENCE, |has_run| !*has_run);
            let (has_run, _) = waited.unwrap();
            has_run.then(|| vec!["proxy:3128".to_owned()])
        };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).build().unwrap();
        let answer = runtime.block_on(async {
            let asking = tokio::spawn(async move {
                tokio::spawn(async {
                    *OTHER.0.lock().unwrap() = true;
                    OTHER.1.notify_all();
                });
                let automatic = Arc::new(Automatic::new(ask, ""));
                automatic.answer(&Uri::from_static("https://far.example/"))
            });
            asking.await.unwrap()
        });
        assert!(matches!(answer, Answer::Through(_)), "{answer:?}");
    }

    #[test]
    fn the_system_is_asked_once_for_an_origin_and_told_no_path() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ask: Ask = |url| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            assert_eq!(url, "https://far.example:8443/");
            Some(vec!["proxy:3128".to_owned()])
        };
        let automatic = Arc::new(Automatic::new(ask, "spared.example"));
        let spared = automatic.answer(&Uri::from_static("https://spared.example/"));
        assert!(matches!(spared, Answer::Nothing), "{spared:?}");
        for path in ["one?code=secret", "two"] {
            let url = format!("https://far.example:8443/{path}");
            let answer = automatic.answer(&url.parse().unwrap());
            assert!(matches!(answer, Answer::Through(_)), "{answer:?}");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
