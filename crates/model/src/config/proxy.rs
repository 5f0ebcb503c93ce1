//! Which proxy leads out of the organisation's network.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Which proxy leads to what is not on this machine: `system`, `none`, or a URL.
///
/// `system` is what the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`) of the bridge names,
/// if it names any; else what Windows or a Linux desktop says, by the script of an automatic
/// configuration (PAC) too; else the proxy that is set in Windows or macOS. What `NO_PROXY` lists
/// is reached directly. A URL is `http`, `https`, `socks5` (names are
/// resolved here) or `socks5h` (names are resolved there), and has no path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Proxy {
    /// What the environment and the operating system say.
    #[default]
    System,
    /// None: everything is reached directly.
    None,
    /// The one at this URL, for everything.
    At(ProxyUrl),
}

/// Where a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Neither a word that is known nor a URL with a scheme that is.
    #[error(
        "this is no proxy; hint: write `system`, `none`, or a URL such as http://proxy.example.com:3128 or socks5h://proxy.example.com:1080"
    )]
    Malformed,
    /// A password in a file that is no place for one.
    #[error(
        "the proxy's URL carries a user name or a password; hint: give them by HTTPS_PROXY in the bridge's environment or by the system's settings"
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
    fn a_proxy_is_a_word_or_a_url_without_secrets() {
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
