//! Cookies of the consent flow. They are sealed, so an altered or foreign one counts as absent.
//!
//! On https they have the prefix `__Host-`, so that no other host and no plain connection can set
//! them. On loopback http that prefix does not exist, and names contain the port, because browsers
//! share cookies between ports.

use cookie::time::Duration;
use cookie::{Cookie as HttpCookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use model::EndpointUrl;

use crate::crypto::{KeyRing, Purpose};

/// The maximum length of a sign-in's cookie, name and value, in bytes. Browsers store 4096.
const MAX_SIGN_IN: usize = 3500;

/// The maximum total length of these cookies, in bytes. Many servers in front of a gateway accept 8
/// KiB of headers.
const MAX_SIGN_INS: usize = 6000;

/// A cookie of which a browser has only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Identifies the browser, so that a consent page is bound to it.
    Browser,
    /// The user who signed in last, for finding a stored consent.
    User,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::Browser => "postern-browser",
            Self::User => "postern-person",
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Browser => Purpose::BrowserCookie,
            Self::User => Purpose::UserCookie,
        }
    }

    /// Returns the lifetime in seconds.
    fn max_age(self) -> u64 {
        match self {
            Self::Browser => 24 * 60 * 60,
            Self::User => 365 * 24 * 60 * 60,
        }
    }
}

/// The name of a sign-in's cookie, before the state that it belongs to.
const SIGN_IN: &str = "postern-sign-in";

/// The form of cookies at this gateway's URL.
#[derive(Debug)]
pub(crate) struct Cookies {
    prefix: &'static str,
    suffix: String,
    /// Whether browsers send them on https only.
    is_secure: bool,
}

impl Cookies {
    pub(crate) fn new(public_url: &EndpointUrl) -> Self {
        if public_url.url().scheme() == "https" {
            Self {
                prefix: "__Host-",
                suffix: String::new(),
                is_secure: true,
            }
        } else {
            let port = public_url.url().port_or_known_default().unwrap_or_default();
            Self {
                prefix: "",
                suffix: format!("-{port}"),
                is_secure: false,
            }
        }
    }

    /// Returns the value of `cookie` in a request, if this gateway sealed it.
    pub(crate) fn read(
        &self,
        keys: &KeyRing,
        cookie: Cookie,
        headers: &HeaderMap,
    ) -> Option<String> {
        let name = self.name(cookie.name());
        let mut sealed = pairs(headers).filter(|(found, _)| *found == name);
        let value = sealed.find_map(|(_, value)| keys.open(cookie.purpose(), value))?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// Returns the `Set-Cookie` that gives `cookie` the value.
    pub(crate) fn set(&self, keys: &KeyRing, cookie: Cookie, value: &str) -> HeaderValue {
        let sealed = keys.seal(cookie.purpose(), value.as_bytes());
        self.header(&self.name(cookie.name()), &sealed, cookie.max_age())
    }

    /// Returns the sealed sign-ins of a state in a request. There are several only if another site
    /// could set them.
    pub(crate) fn sign_ins<'a>(
        &self,
        state: &str,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a str> {
        let name = self.sign_in_name(state);
        pairs(headers).filter_map(move |(found, value)| (found == name).then_some(value))
    }

    /// Returns the `Set-Cookie` that stores a sealed sign-in for `max_age` seconds. Returns `None` if
    /// it is too long, or if the browser has too many.
    pub(crate) fn set_sign_in(
        &self,
        state: &str,
        sealed: &str,
        max_age: u64,
        headers: &HeaderMap,
    ) -> Option<HeaderValue> {
        let begin = self.sign_in_name("");
        let others = pairs(headers).filter(|(name, _)| name.starts_with(&*begin));
        let others: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        let name = self.sign_in_name(state);
        let length = name.len() + sealed.len();
        let fits = length <= MAX_SIGN_IN && others + length <= MAX_SIGN_INS;
        fits.then(|| self.header(&name, sealed, max_age))
    }

    /// Returns the `Set-Cookie` that removes a state's sign-in. Returns `None` if the text is not a
    /// state.
    pub(crate) fn remove_sign_in(&self, state: &str) -> Option<HeaderValue> {
        let is_ours = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_state = state.len() <= 64 && state.bytes().all(is_ours);
        is_state.then(|| self.header(&self.sign_in_name(state), "", 0))
    }

    fn header(&self, name: &str, value: &str, max_age: u64) -> HeaderValue {
        let cookie = HttpCookie::build((name, value))
            .path("/")
            .secure(self.is_secure)
            .http_only(true)
            .same_site(SameSite::Lax)
            .max_age(Duration::seconds(max_age.cast_signed()));
        HeaderValue::try_from(cookie.to_string())
            .expect("names, base64url and attributes are ASCII")
    }

    fn sign_in_name(&self, state: &str) -> String {
        format!("{}-{state}", self.name(SIGN_IN))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}{}", self.prefix, self.suffix)
    }
}

/// Returns the names and values of all cookies of a request.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(HttpCookie::split_parse)
        .filter_map(Result::ok)
        .filter_map(|cookie| Some((cookie.name_raw()?, cookie.value_raw()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> KeyRing {
        let folder = tempfile::tempdir().unwrap();
        KeyRing::open_file(&folder.path().join("keys")).unwrap()
    }

    fn request(set: &HeaderValue) -> HeaderMap {
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, format!("a=b; {pair}; c").try_into().unwrap())])
    }

    #[test]
    fn d3_t3_cookie_of_other_key_or_purpose_is_ignored() {
        let keys = keys();
        let cookies = Cookies::new(&"https://g.example".parse().unwrap());
        let set = cookies.set(&keys, Cookie::Browser, "value");
        let text = set.to_str().unwrap();
        assert!(text.starts_with("__Host-postern-browser=v1."), "{text}");
        assert!(
            text.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=86400"),
            "{text}"
        );
        let sent = request(&set);
        assert_eq!(
            cookies.read(&keys, Cookie::Browser, &sent).as_deref(),
            Some("value")
        );
        assert_eq!(cookies.read(&keys, Cookie::User, &sent), None);
        assert_eq!(cookies.read(&self::keys(), Cookie::Browser, &sent), None);
        let renamed = text.replace("browser", "person").parse().unwrap();
        assert_eq!(cookies.read(&keys, Cookie::User, &request(&renamed)), None);
        let plain = HeaderValue::from_static("__Host-postern-browser=value");
        assert_eq!(cookies.read(&keys, Cookie::Browser, &request(&plain)), None);
    }

    #[test]
    fn sign_in_beyond_size_limits_gets_no_cookie() {
        let cookies = Cookies::new(&"https://g.example".parse().unwrap());
        let set = |length: usize, sent: &HeaderMap| {
            cookies.set_sign_in("state", &"x".repeat(length), 600, sent)
        };
        let none = HeaderMap::new();
        let name = "__Host-postern-sign-in-state".len();
        assert!(set(MAX_SIGN_IN - name + 1, &none).is_none());
        let longest = set(MAX_SIGN_IN - name, &none).unwrap();
        let text = longest.to_str().unwrap();
        assert!(text.starts_with("__Host-postern-sign-in-state=x"), "{text}");
        let sent = request(&longest);
        let found: Vec<_> = cookies.sign_ins("state", &sent).collect();
        assert_eq!(found, ["x".repeat(MAX_SIGN_IN - name)]);
        assert_eq!(cookies.sign_ins("other", &sent).count(), 0);
        assert!(set(MAX_SIGN_INS - MAX_SIGN_IN - name + 1, &sent).is_none());
        assert!(set(MAX_SIGN_INS - MAX_SIGN_IN - name, &sent).is_some());
        let removed = cookies.remove_sign_in("state").unwrap();
        let removed = removed.to_str().unwrap();
        assert!(removed.starts_with("__Host-postern-sign-in-state=; "));
        assert!(removed.ends_with("; Max-Age=0"), "{removed}");
        for odd in ["a;b", "a b", "a=b", "ä", &"x".repeat(100)] {
            assert!(cookies.remove_sign_in(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn loopback_http_cookie_name_contains_port() {
        let cookies = Cookies::new(&"http://127.0.0.1:4180".parse().unwrap());
        let set = cookies.set(&keys(), Cookie::Browser, "x");
        let text = set.to_str().unwrap();
        assert!(
            text.starts_with("postern-browser-4180=") && !text.contains("Secure"),
            "{text}"
        );
        let none = HeaderMap::new();
        let set = cookies.set_sign_in("state", "x", 600, &none).unwrap();
        assert!(
            set.to_str()
                .unwrap()
                .starts_with("postern-sign-in-4180-state=x;")
        );
    }
}
