//! The URLs of endpoints: https, or plain http on this machine.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The URL of an endpoint that requests are sent to.
///
/// It is https, or http with a loopback host (`localhost`, 127.0.0.0/8, `[::1]`). Other URLs do not
/// parse. It has no user name, password or fragment. The original text is kept, to be compared and sent
/// instead of the parsed form.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl {
    text: String,
    #[schemars(skip)]
    url: Url,
}

/// Why a text is not an [`EndpointUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is not a URL.
    #[error(
        "`{0}` is not a URL; hint: write the full URL, as in https://mcp.example.com/snippets/mcp"
    )]
    Malformed(String),
    /// It is neither https nor loopback.
    #[error(
        "`{0}` is neither https nor on this machine; hint: use https, http is for localhost only"
    )]
    Insecure(String),
    /// It has credentials or a fragment.
    #[error("the URL for `{0}` contains a user name, a password or a fragment; hint: remove them")]
    Decorated(String),
}

impl EndpointUrl {
    /// Parses a URL that may be http with any host, for use after the user has allowed that.
    ///
    /// # Errors
    /// See [`UrlError`]. Never [`UrlError::Insecure`] for http.
    pub fn allowing_http(text: &str) -> Result<Self, UrlError> {
        Self::parse_with(text, |url| matches!(url.scheme(), "https" | "http"))
    }

    fn parse_with(text: &str, is_safe: impl FnOnce(&Url) -> bool) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Malformed(shown_url(text).to_owned()))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(UrlError::Decorated(
                url.host_str().unwrap_or_default().to_owned(),
            ));
        }
        if !is_safe(&url) {
            return Err(UrlError::Insecure(shown_url(text).to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }

    /// Returns the original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text without its query, which may contain a secret. For messages, logs and pages.
    #[must_use]
    pub fn shown(&self) -> &str {
        shown_url(&self.text)
    }

    /// Returns the parsed form.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns whether it is an `http:` URL of another machine, whose traffic others can read and change.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.url.scheme() == "http" && !self.is_loopback()
    }

    /// Returns whether its host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

/// Returns the part of a text that may be shown, in case it is a URL: without query, fragment, user
/// name and password, and then without the scheme before these. Any other text is returned unchanged.
#[must_use]
pub fn shown_url(text: &str) -> &str {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let host = text.find("://").map_or(0, |scheme| scheme + 3);
    let end = text[host..].find('/').map_or(text.len(), |end| host + end);
    match text[host..end].rfind('@') {
        Some(at) => &text[host + at + 1..],
        None => text,
    }
}

/// Returns whether a URL's host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback_host)
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse_with(text, |url| match url.scheme() {
            "https" => true,
            "http" => is_loopback(url),
            _ => false,
        })
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.text
    }
}

impl PartialEq for EndpointUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for EndpointUrl {}

impl std::hash::Hash for EndpointUrl {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointUrl").field(&self.shown()).finish()
    }
}

/// Formats the complete original text.
impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointUrl, UrlError};

    #[test]
    fn endpoint_url_keeps_text_and_rejects_unsafe_urls() {
        let kept = "https://MCP.example.com".parse::<EndpointUrl>().unwrap();
        assert_eq!(kept.as_str(), "https://MCP.example.com");
        for local in [
            "http://localhost:1/x",
            "http://127.0.0.1:2/",
            "http://[::1]:3/mcp",
        ] {
            assert!(
                local.parse::<EndpointUrl>().unwrap().is_loopback(),
                "{local}"
            );
        }
        let refused = |text: &str| text.parse::<EndpointUrl>().unwrap_err();
        assert!(matches!(refused("mcp.example.com"), UrlError::Malformed(_)));
        for far in [
            "http://example.com",
            "file:///etc/passwd",
            "http://localhost.evil/",
            "javascript:alert(1)",
        ] {
            assert!(matches!(refused(far), UrlError::Insecure(_)), "{far}");
        }
        let allowed = EndpointUrl::allowing_http("http://example.com").unwrap();
        assert!(allowed.is_exposed() && !kept.is_exposed());
        for never in [
            "file:///etc/passwd",
            "ftp://example.com/",
            "javascript:alert(1)",
        ] {
            let refused = EndpointUrl::allowing_http(never).unwrap_err();
            assert!(matches!(refused, UrlError::Insecure(_)), "{never}");
        }
        for secret in [
            "https://example.com/mcp?key=secret",
            "mcp.example.com?key=secret",
            "http://u:secret@example.com/mcp?key=secret",
        ] {
            let told = match secret.parse::<EndpointUrl>() {
                Ok(url) => format!("{url:?} {}", url.shown()),
                Err(error) => error.to_string(),
            };
            assert!(!told.contains("secret"), "{told}");
            assert!(told.contains("example.com"), "{told}");
        }
        let scoped = "https://example.com/@scope/mcp".parse::<EndpointUrl>();
        assert_eq!(scoped.unwrap().shown(), "https://example.com/@scope/mcp");
        for decorated in ["https://u:p@example.com", "https://example.com/#x"] {
            let error = refused(decorated);
            assert!(matches!(error, UrlError::Decorated(_)));
            assert!(!error.to_string().contains("u:p"));
        }
    }
}
