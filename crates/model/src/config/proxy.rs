//! The proxy for servers outside of this machine.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The proxy for connections to other machines: `system`, `none`, or a URL.
///
/// `system` uses the bridge's environment variables (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`) if any is
/// set, otherwise the automatic configuration (PAC) of Windows or a Linux desktop, otherwise the proxy
/// that is set in Windows or macOS. Hosts in `NO_PROXY` are reached directly. A URL is `http`, `https`,
/// `socks5` (this machine resolves names) or `socks5h` (the proxy resolves names), and has no path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Proxy {
    /// The settings of the environment and the operating system.
    #[default]
    System,
    /// No proxy.
    None,
    /// The proxy with this URL, for all connections.
    At(ProxyUrl),
}

/// The URL of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// Returns the original text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It is neither a known keyword nor a URL with a known scheme.
    #[error(
        "this is not a proxy; hint: write `system`, `none`, or a URL such as http://proxy.example.com:3128 or socks5h://proxy.example.com:1080"
    )]
    Malformed,
    /// The URL has credentials, which do not belong in the file.
    #[error(
        "the proxy's URL contains a user name or a password; hint: set them with HTTPS_PROXY in the bridge's environment or in the system's settings"
    )]
    Credentials,
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        match text {
            "system" => return Ok(Self::System),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let url = Url::parse(text).map_err(|_| ProxyError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ProxyError::Credentials);
        }
        let is_known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if !is_known || !is_bare || url.host_str().is_none_or(str::is_empty) {
            return Err(ProxyError::Malformed);
        }
        Ok(Self::At(ProxyUrl(text.to_owned())))
    }
}

impl TryFrom<String> for Proxy {
    type Error = ProxyError;

    fn try_from(text: String) -> Result<Self, ProxyError> {
        text.parse()
    }
}

impl From<Proxy> for String {
    fn from(proxy: Proxy) -> Self {
        proxy.to_string()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::None => "none",
            Self::At(url) => url.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Proxy, ProxyError};

    #[test]
    fn proxy_is_keyword_or_url_without_credentials() {
        for text in [
            "system",
            "none",
            "http://proxy.example:3128",
            "https://proxy.example/",
            "socks5://127.0.0.1:1080",
            "socks5h://[::1]:1080",
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "direct",
            "proxy:3128",
            "ftp://proxy",
            "http://proxy/pac?x",
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(ProxyError::Malformed), "{text}");
        }
        let with_password = "http://me:secret@proxy:3128".parse::<Proxy>();
        assert_eq!(with_password, Err(ProxyError::Credentials));
        assert!(!ProxyError::Credentials.to_string().contains("secret"));
    }
}
