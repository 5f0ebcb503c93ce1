//! Cookies of the consent flow: sealed, so that an altered or foreign one is as good as none.
//!
//! On https they have the prefix `__Host-`, so that no other host and no plain connection can
//! set them. On loopback http there is no such protection to be had, and names carry the port,
//! because browsers share cookies between ports.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use model::EndpointUrl;

use crate::crypto::{KeyRing, Purpose};

/// A cookie's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Tells browsers apart, so that a consent page answers to the browser it was opened in.
    Browser,
    /// Set when a person approves, and wanted back when Entra sends the browser back.
    Approval,
    /// Who last signed in, so that a remembered consent can be looked for.
    Person,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::Browser => "postern-browser",
            Self::Approval => "postern-approval",
            Self::Person => "postern-person",
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Browser => Purpose::BrowserCookie,
            Self::Approval => Purpose::ApprovalCookie,
            Self::Person => Purpose::PersonCookie,
        }
    }

    /// Seconds.
    fn max_age(self) -> u32 {
        match self {
            Self::Browser => 24 * 60 * 60,
            Self::Approval => 60 * 60,
            Self::Person => 365 * 24 * 60 * 60,
        }
    }
}

/// How cookies look at this gateway's address.
#[derive(Debug)]
pub(crate) struct Cookies {
    prefix: &'static str,
    suffix: String,
    attributes: &'static str,
}

impl Cookies {
    pub(crate) fn new(public_url: &EndpointUrl) -> Self {
        if public_url.url().scheme() == "https" {
            Self {
                prefix: "__Host-",
                suffix: String::new(),
                attributes: "Path=/; Secure; HttpOnly; SameSite=Lax",
            }
        } else {
            let port = public_url.url().port_or_known_default().unwrap_or_default();
            Self {
                prefix: "",
                suffix: format!("-{port}"),
                attributes: "Path=/; HttpOnly; SameSite=Lax",
            }
        }
    }

    /// The value of `cookie` in a request, if it is one of ours.
    pub(crate) fn read(
        &self,
        keys: &KeyRing,
        cookie: Cookie,
        headers: &HeaderMap,
    ) -> Option<String> {
        let name = self.name(cookie);
        let pairs = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok());
        let mut sealed = pairs
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(found, value)| (found == name).then_some(value));
        let value = sealed.find_map(|value| keys.open(cookie.purpose(), value))?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// The `Set-Cookie` that gives `cookie` the value.
    pub(crate) fn set(&self, keys: &KeyRing, cookie: Cookie, value: &str) -> HeaderValue {
        let text = format!(
            "{}={}; Max-Age={}; {}",
            self.name(cookie),
            keys.seal(cookie.purpose(), value.as_bytes()),
            cookie.max_age(),
            self.attributes,
        );
        HeaderValue::try_from(text).expect("names, base64url and attributes are ASCII")
    }

    fn name(&self, cookie: Cookie) -> String {
        format!("{}{}{}", self.prefix, cookie.name(), self.suffix)
    }
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
    fn d3_t3_only_a_cookie_of_ours_with_the_same_meaning_is_read() {
        let keys = keys();
        let cookies = Cookies::new(&"https://g.example".parse().unwrap());
        let set = cookies.set(&keys, Cookie::Approval, "value");
        let text = set.to_str().unwrap();
        assert!(text.starts_with("__Host-postern-approval=v1."), "{text}");
        assert!(
            text.ends_with("; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax"),
            "{text}"
        );
        let sent = request(&set);
        assert_eq!(
            cookies.read(&keys, Cookie::Approval, &sent).as_deref(),
            Some("value")
        );
        assert_eq!(cookies.read(&keys, Cookie::Browser, &sent), None);
        assert_eq!(cookies.read(&self::keys(), Cookie::Approval, &sent), None);
        let renamed = text.replace("approval", "browser").parse().unwrap();
        assert_eq!(
            cookies.read(&keys, Cookie::Browser, &request(&renamed)),
            None
        );
        let plain = HeaderValue::from_static("__Host-postern-approval=value");
        assert_eq!(
            cookies.read(&keys, Cookie::Approval, &request(&plain)),
            None
        );
    }

    #[test]
    fn on_loopback_http_the_name_carries_the_port() {
        let cookies = Cookies::new(&"http://127.0.0.1:4180".parse().unwrap());
        let set = cookies.set(&keys(), Cookie::Browser, "x");
        let text = set.to_str().unwrap();
        assert!(
            text.starts_with("postern-browser-4180=") && !text.contains("Secure"),
            "{text}"
        );
    }
}
