//! A minimal browser: headers, cookies, redirects and one form.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use http::header::{ACCEPT, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use url::Url;

/// A browser with its cookies.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

/// The last response of a navigation.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Returns a plain HTTP client without redirects and proxy.
pub(crate) fn http() -> reqwest::Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the tests that may"
    )]
    let builder = reqwest::Client::builder();
    builder
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self {
            http: http(),
            cookies: Arc::default(),
        }
    }

    /// Opens a URL as from the address bar. Follows redirects until one leads to a client, outside of
    /// the test's servers.
    pub(crate) async fn open(&self, url: &str) -> Page {
        self.navigate(url, "none").await
    }

    /// Like [`Self::open`], by a link on a page of another site.
    pub(crate) async fn follow_link(&self, url: &str) -> Page {
        self.navigate(url, "cross-site").await
    }

    async fn navigate(&self, url: &str, site: &'static str) -> Page {
        let mut page = self.get(url, site).await;
        while let Some(next) = page.next() {
            page = self.get(next.as_str(), site).await;
        }
        page
    }

    /// Sends one request and follows no redirect.
    pub(crate) async fn get(&self, url: &str, site: &'static str) -> Page {
        let request = self.http.get(url).header("sec-fetch-site", site);
        self.send(url, request).await
    }

    /// Presses a button of the consent page, and follows redirects like [`Self::open`].
    pub(crate) async fn press(&self, page: &Page, answer: &str) -> Page {
        let mut next = self.submit(page, answer).await;
        while let Some(url) = next.next() {
            next = self.get(url.as_str(), "cross-site").await;
        }
        next
    }

    /// Presses a button of the consent page, and follows no redirect.
    pub(crate) async fn submit(&self, page: &Page, answer: &str) -> Page {
        let form = [
            ("request", page.field("request")),
            ("answer", answer.to_owned()),
        ];
        let url = page.url.join("/consent").unwrap();
        let request = self
            .http
            .post(url.clone())
            .form(&form)
            .header("sec-fetch-site", "same-origin");
        self.send(
            url.as_str(),
            request.header(ORIGIN, url.origin().ascii_serialization()),
        )
        .await
    }

    async fn send(&self, url: &str, request: reqwest::RequestBuilder) -> Page {
        let cookies = self.cookies();
        let request = request.header(ACCEPT, "text/html").header(COOKIE, cookies);
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let pair = cookie.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            match cookie.ends_with("; Max-Age=0") {
                true => cookies.remove(name),
                false => cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        Page {
            url: url.parse().unwrap(),
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// Returns the cookies as a header.
    pub(crate) fn cookies(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        let pairs = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn has_cookie(&self, part: &str) -> bool {
        self.cookies
            .lock()
            .unwrap()
            .keys()
            .any(|name| name.contains(part))
    }

    pub(crate) fn set_cookie(&self, part: &str, value: &str) {
        for (name, kept) in self.cookies.lock().unwrap().iter_mut() {
            if name.contains(part) {
                value.clone_into(kept);
            }
        }
    }
}

impl Page {
    /// Returns the target of a redirect within the test's servers. No client listens: their redirect
    /// URIs have the path `/cb` or a private scheme.
    fn next(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().unwrap();
        let url = self.url.join(location).unwrap();
        (url.scheme() == "http" && url.path() != "/cb").then_some(url)
    }

    /// Returns the target of a redirect.
    pub(crate) fn location(&self) -> String {
        let location = self
            .headers
            .get(LOCATION)
            .unwrap_or_else(|| panic!("{self:#?}"));
        location.to_str().unwrap().to_owned()
    }

    /// Returns a parameter in the target of a redirect.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let location = Url::parse(&self.location()).unwrap();
        let mut found = location.query_pairs().filter(|(given, _)| given == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn is_consent(&self) -> bool {
        self.status == StatusCode::OK && self.body.contains("action=\"/consent\"")
    }

    /// Returns the value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .body
            .split_once(&start)
            .unwrap_or_else(|| panic!("{}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

impl Browser {
    /// Returns another browser with the same cookies.
    pub(crate) fn copied(&self) -> Self {
        let cookies = self.cookies.lock().unwrap().clone();
        Self {
            http: self.http.clone(),
            cookies: Arc::new(Mutex::new(cookies)),
        }
    }

    /// Returns the same browser with another value of a cookie.
    pub(crate) fn clone_with_cookie(&self, part: &str, value: &str) -> Self {
        let other = self.copied();
        other.set_cookie(part, value);
        other
    }
}
