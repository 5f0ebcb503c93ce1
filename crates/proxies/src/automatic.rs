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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::runtime::{Handle, RuntimeFlavor};

/// How long an answer holds: networks change beneath a program.
const HOLDS: Duration = Duration::from_secs(60);

/// How long it is still used while the system is asked again.
const SERVES: Duration = Duration::from_secs(10 * 60);

/// How long the system is waited for. It may look for a script that nobody offers, or that comes
/// from where nobody answers.
const PATIENCE: Duration = Duration::from_secs(5);

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
    known: Mutex<HashMap<String, Known>>,
    news: Condvar,
}

#[derive(Default)]
struct Known {
    answer: Option<(Answer, Instant)>,
    is_asked: bool,
}

impl Known {
    /// The answer, if it is younger than that.
    fn within(&self, time: Duration) -> Option<Answer> {
        let (answer, since) = self.answer.as_ref()?;
        (since.elapsed() < time).then(|| answer.clone())
    }
}

impl Automatic {
    /// Where the system can be asked.
    pub(crate) fn of_system() -> Option<Self> {
        system::ASK.map(Self::new)
    }

    fn new(ask: Ask) -> Self {
        Self {
            ask,
            known: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// What is to be done to reach `destination`: as the system says, or said last if it does not
    /// answer in time.
    pub(crate) fn answer(self: &Arc<Self>, destination: &Uri) -> Answer {
        // Scripts are not told what is asked of whom (path and query), as browsers do.
        let (Some(scheme), Some(authority)) = (destination.scheme_str(), destination.authority())
        else {
            return Answer::Nothing;
        };
        let origin = format!("{scheme}://{authority}/");
        let mut known = self.known();
        if known.len() > MOST {
            known.retain(|_, known| known.is_asked);
        }
        let entry = known.entry(origin.clone()).or_default();
        if let Some(answer) = entry.within(HOLDS) {
            return answer;
        }
        let meanwhile = entry.within(SERVES);
        if !entry.is_asked {
            entry.is_asked = true;
            let (this, origin) = (Arc::clone(self), origin.clone());
            let asking = thread::Builder::new().name("proxies".to_owned());
            if let Err(error) = asking.spawn(move || this.learn(origin)) {
                tracing::warn!(%error, "the system cannot be asked for proxies");
                entry.is_asked = false;
                return Answer::Nothing;
            }
        }
        drop(known);
        meanwhile.unwrap_or_else(|| blocking(|| self.wait(&origin)))
    }

    fn learn(&self, origin: String) {
        let said = (self.ask)(&origin);
        let answer = said.map_or(Answer::Nothing, |said| choice(&said));
        tracing::debug!(origin, ?answer, "what the system says of proxies");
        let known = Known {
            answer: Some((answer, Instant::now())),
            is_asked: false,
        };
        self.known().insert(origin, known);
        self.news.notify_all();
    }

    fn wait(&self, origin: &str) -> Answer {
        let is_asked = |known: &mut HashMap<String, Known>| {
            known.get(origin).is_some_and(|known| known.is_asked)
        };
        let waited = self
            .news
            .wait_timeout_while(self.known(), PATIENCE, is_asked);
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

/// Waits where waiting is allowed: other tasks of a runtime that has threads for them go on.
fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        Ok(_) | Err(_) => wait(),
    }
}

/// The first way that can be gone. There is no second try when it leads nowhere.
fn choice(said: &[String]) -> Answer {
    for way in said {
        let (scheme, at) = way.split_once("://").unwrap_or(("http", way));
        let proxy = match scheme {
            "direct" => return Answer::Direct,
            "http" | "https" => format!("{scheme}://{at}"),
            // Names are resolved there, as browsers do.
            "socks" | "socks5" | "socks5h" => format!("socks5h://{at}"),
            _ => continue,
        };
        return Answer::Through(Arc::new(Matcher::builder().all(proxy).build()));
    }
    Answer::Nothing
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Uri;

    use super::{Answer, Automatic, choice};

    fn chosen(said: &[&str], destination: &'static str) -> Option<String> {
        let said: Vec<_> = said.iter().map(|&way| way.to_owned()).collect();
        match choice(&said) {
            Answer::Through(proxy) => {
                let proxy = proxy.intercept(&Uri::from_static(destination))?;
                Some(proxy.uri().to_string())
            }
            Answer::Direct => Some("direct".to_owned()),
            Answer::Nothing => None,
        }
    }

    #[test]
    fn the_first_way_that_is_known_is_gone() {
        let far = "https://far.example/";
        let portal = ["socks4://a:1080", "socks5://b:1080", "direct://"];
        assert_eq!(chosen(&portal, far).unwrap(), "socks5h://b:1080/");
        assert_eq!(
            chosen(&["c:3128", "d:3128"], far).unwrap(),
            "http://c:3128/"
        );
        assert_eq!(chosen(&["https://e"], far).unwrap(), "https://e/");
        assert_eq!(chosen(&["direct://", "f:1"], far).unwrap(), "direct");
        assert_eq!(chosen(&["quic://g:1"], far), None);
        assert_eq!(chosen(&[], far), None);
    }

    #[test]
    fn the_system_is_asked_once_for_an_origin_and_told_no_path() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let automatic = Arc::new(Automatic::new(|url| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            assert_eq!(url, "https://far.example:8443/");
            Some(vec!["proxy:3128".to_owned()])
        }));
        for path in ["one?code=secret", "two"] {
            let url = format!("https://far.example:8443/{path}");
            let answer = automatic.answer(&url.parse().unwrap());
            assert!(matches!(answer, Answer::Through(_)), "{answer:?}");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }
}
