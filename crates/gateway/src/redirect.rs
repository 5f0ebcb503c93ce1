//! Redirect URIs: which may be registered, which matches a request, and how one is shown.
//!
//! Invariants: a redirect URI is compared as text. Its parsed form only determines whether it may be
//! registered, and what the consent page shows. No redirect leads back to the gateway, because there
//! the response to one client would begin the sign-in of another.

use std::net::IpAddr;

use model::is_loopback_host;
use url::{Host, Url};

/// Schemes that run code, read files, access the network, or start something other than the client,
/// such as a browser or a store.
const FORBIDDEN: &[&str] = &[
    "about",
    "afp",
    "android-app",
    "applescript",
    "blob",
    "brave",
    "callto",
    "chrome",
    "chrome-extension",
    "cifs",
    "content",
    "data",
    "dav",
    "davs",
    "ddgquicklink",
    "devtools",
    "dns",
    "dolphin",
    "edge",
    "facetime",
    "facetime-audio",
    "feed",
    "feeds",
    "file",
    "filesystem",
    "firefox",
    "ftp",
    "ftps",
    "geo",
    "git",
    "googlechrome",
    "googlechromes",
    "gopher",
    "http",
    "https",
    "imap",
    "imaps",
    "intent",
    "ipp",
    "ipps",
    "irc",
    "ircs",
    "itms",
    "itms-apps",
    "itms-services",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "livescript",
    "magnet",
    "mailto",
    "market",
    "microsoft-edge",
    "mms",
    "moz-extension",
    "moz-icon",
    "ms-browser-extension",
    "news",
    "nfs",
    "nntp",
    "pop",
    "rdp",
    "puffin",
    "resource",
    "rlogin",
    "rsync",
    "rtmp",
    "rtsp",
    "safari",
    "search",
    "sftp",
    "shell",
    "sip",
    "sips",
    "smb",
    "sms",
    "smsto",
    "smtp",
    "snews",
    "ssh",
    "svn",
    "tel",
    "telnet",
    "tftp",
    "vbscript",
    "view-source",
    "vivaldi",
    "vnc",
    "webcal",
    "webcals",
    "webdav",
    "webdavs",
    "ws",
    "wss",
    "xmpp",
    "yandexbrowser",
];

/// The first word of schemes that make browsers and stores open a page, as in `firefox-focus` and
/// `chrome-search`.
const LAUNCHERS: &[&str] = &[
    "brave",
    "chrome",
    "chromium",
    "duckduckgo",
    "edge",
    "firefox",
    "googlechrome",
    "itms",
    "market",
    "microsoft-edge",
    "ms",
    "opera",
    "safari",
    "samsunginternet",
    "search",
    "touch",
    "vivaldi",
    "x-safari",
    "yandex",
];

/// The maximum length of a redirect URI, in bytes.
const MAX_LENGTH: usize = 2048;

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectError {
    #[error("a redirect URI is not an absolute URI of printable ASCII")]
    Malformed,
    #[error("a redirect URI is longer than {MAX_LENGTH} bytes")]
    Long,
    #[error("a redirect URI has a fragment")]
    Fragment,
    #[error("a redirect URI contains a user name or a password")]
    Credentials,
    #[error(
        "a redirect URI is neither https, nor http on loopback, nor an application's own scheme"
    )]
    Scheme,
    #[error("a redirect URI leads to this gateway")]
    Own,
}

/// The gateway's own origin, in every spelling that leads a browser there.
#[derive(Debug)]
pub(crate) struct OwnOrigin(Url);

impl OwnOrigin {
    /// Creates it from `public_url`, which is the issuer.
    pub(crate) fn new(public_url: &Url) -> Self {
        Self(public_url.clone())
    }

    /// Returns true if `uri` leads a browser to the gateway. The scheme is ignored, because an http
    /// server of a host may redirect to https.
    pub(crate) fn includes(&self, uri: &str) -> bool {
        Url::parse(uri).is_ok_and(|uri| {
            let is_web = matches!(uri.scheme(), "http" | "https");
            let ports = [&uri, &self.0].map(Url::port_or_known_default);
            let is_default = |url: &Url| url.port().is_none();
            let same_port = ports[0] == ports[1] || (is_default(&uri) && is_default(&self.0));
            is_web && same_port && is_same_host(&uri, &self.0)
        })
    }
}

/// Returns true if two URLs have the same host. All loopback names count as one host.
fn is_same_host(one: &Url, other: &Url) -> bool {
    let [one, other] = [one, other].map(|url| url.host().map(|host| plain_host(&host)));
    match (one, other) {
        (Some(one), Some(other)) => {
            one == other || (is_this_computer(&one) && is_this_computer(&other))
        }
        _ => false,
    }
}

/// Normalizes a host: removes the dot at the end of a name, and converts IPv4-mapped IPv6 addresses to
/// IPv4.
fn plain_host(host: &Host<&str>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.trim_end_matches('.').to_ascii_lowercase()),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => match IpAddr::V6(*address).to_canonical() {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        },
    }
}

fn is_this_computer(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
        Host::Ipv6(address) => address.is_loopback() || address.is_unspecified(),
    }
}

/// Checks a redirect URI that a client wants to register at the gateway at `own`.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check(uri: &str, own: &OwnOrigin) -> Result<(), RedirectError> {
    check_text(uri)?;
    match own.includes(uri) {
        true => Err(RedirectError::Own),
        false => Ok(()),
    }
}

/// Checks a URI as far as that is possible without knowing the gateway.
pub(crate) fn check_text(uri: &str) -> Result<(), RedirectError> {
    if uri.len() > MAX_LENGTH {
        return Err(RedirectError::Long);
    }
    let printable = uri
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    let url = Url::parse(uri)
        .ok()
        .filter(|_| printable)
        .ok_or(RedirectError::Malformed)?;
    if uri.contains('#') {
        return Err(RedirectError::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectError::Credentials);
    }
    match url.scheme() {
        // A browser resolves `https:/path` and `https:path` against the page with the link.
        "http" | "https" if !names_host(uri) => Err(RedirectError::Malformed),
        "https" if has_plain_host(&url) => Ok(()),
        "http" if url.host_str().is_some_and(is_loopback_host) => Ok(()),
        scheme if is_of_an_application(scheme) => Ok(()),
        _ => Err(RedirectError::Scheme),
    }
}

/// Returns true if the text has `//` and a host after its scheme. A parser would add what is missing.
fn names_host(uri: &str) -> bool {
    let after = uri.split_once(':').map_or("", |(_, after)| after);
    after
        .strip_prefix("//")
        .is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', ':']))
}

/// Returns the registered URI that matches `asked`: the same text, or, for a loopback address, the
/// same except for the port (RFC 8252 §7.3).
pub(crate) fn find<'a>(registered: &'a [String], asked: &str) -> Option<&'a str> {
    let same = |uri: &&String| {
        uri.as_str() == asked
            || matches!((without_port(uri), without_port(asked)), (Some(a), Some(b)) if a == b)
    };
    registered.iter().find(same).map(String::as_str)
}

/// Returns the form in which a redirect URI is registered: the text, without the port of a loopback
/// address, which may differ each time.
pub(crate) fn registered(uri: &str) -> String {
    match without_port(uri) {
        Some((host, path)) => format!("http://{host}{path}"),
        None => uri.to_owned(),
    }
}

/// Returns the host of a loopback URI, and its path with query. Returns `None` for other URIs.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]", "localhost"]
        .into_iter()
        .find(|host| rest.starts_with(host))?;
    let after = &rest[host.len()..];
    let path = match after.strip_prefix(':') {
        None => after,
        Some(numbered) => {
            let digits = numbered.bytes().take_while(u8::is_ascii_digit).count();
            numbered[..digits]
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0)?;
            &numbered[digits..]
        }
    };
    (path.is_empty() || path.starts_with(['/', '?'])).then_some((&rest[..host.len()], path))
}

/// Returns true if the host can be shown in a header and on a page unchanged. The host of a URL may
/// contain more characters than DNS allows.
fn has_plain_host(url: &Url) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    url.host_str().is_some_and(|host| host.bytes().all(plain))
}

fn is_of_an_application(scheme: &str) -> bool {
    let begins_with = |word: &str| {
        let rest = scheme.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '+']))
    };
    scheme.len() >= 3
        && !LAUNCHERS.iter().copied().any(begins_with)
        // Websites and Firefox extensions may register these schemes for themselves.
        && !scheme.starts_with("web+")
        && !scheme.starts_with("ext+")
        // One protocol over another, as in `git+ssh`.
        && !scheme.split('+').any(|part| FORBIDDEN.contains(&part))
        // A page for another program, as in `x-safari-https`.
        && !scheme.split('-').any(|part| matches!(part, "http" | "https"))
}

/// The target of a redirect, as shown to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A program on the user's computer, at this host.
    ThisComputer(String),
    /// Any application that has registered the scheme. It may forward the response.
    Application {
        /// The scheme.
        scheme: String,
        /// Scheme and host, as in `app://sign-in`; the scheme with its colon if there is none.
        place: String,
    },
    /// A website.
    Website(String),
}

impl Destination {
    /// Returns the destination of a registered URI.
    pub(crate) fn of(uri: &str) -> Self {
        let Ok(url) = Url::parse(uri) else {
            return Self::Website(String::new());
        };
        let host = url.host_str().unwrap_or_default();
        let host = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        match url.scheme() {
            "https" => Self::Website(host),
            "http" => Self::ThisComputer(host),
            scheme => Self::Application {
                scheme: scheme.to_owned(),
                place: if host.is_empty() {
                    format!("{scheme}:")
                } else {
                    format!("{scheme}://{host}")
                },
            },
        }
    }

    /// Returns the source for `form-action` (Content Security Policy) that allows a redirect there
    /// after a form. IPv6 addresses cannot be expressed in it.
    pub(crate) fn csp_source(&self) -> String {
        match self {
            Self::ThisComputer(host) if host.starts_with('[') => "http:".to_owned(),
            Self::ThisComputer(host) => format!("http://{host}"),
            Self::Application { scheme, .. } => format!("{scheme}:"),
            Self::Website(host) => format!("https://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnOrigin {
        OwnOrigin::new(&"https://gateway.example".parse().unwrap())
    }

    #[test]
    fn t39_redirect_uri_with_unsafe_scheme_is_rejected() {
        for good in [
            "https://client.example/cb",
            "https://client.example/cb?tenant=1",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:3334/oauth/callback",
            "http://localhost:1/",
            "http://[::1]:5/cb",
            "cursor://anysphere.cursor-retrieval/oauth/callback",
            "com.example.app:/cb",
        ] {
            assert_eq!(check(good, &own()), Ok(()), "{good}");
        }
        for (bad, error) in [
            ("", RedirectError::Malformed),
            ("/cb", RedirectError::Malformed),
            ("https://", RedirectError::Malformed),
            ("https://client.example/a b", RedirectError::Malformed),
            (
                "https://client.example\\@evil.example/",
                RedirectError::Malformed,
            ),
            ("https://client.example/\n", RedirectError::Malformed),
            ("https://client.example/ä", RedirectError::Malformed),
            ("https://client.example/cb#x", RedirectError::Fragment),
            ("https://client.example/cb#", RedirectError::Fragment),
            ("https://u:p@client.example/cb", RedirectError::Credentials),
            ("https://a;script-src/cb", RedirectError::Scheme),
            ("http://client.example/cb", RedirectError::Scheme),
            ("http://localhost.evil.example/cb", RedirectError::Scheme),
            ("http://127.0.0.1.evil.example/cb", RedirectError::Scheme),
            ("javascript:alert(1)", RedirectError::Scheme),
            ("JavaScript:alert(1)", RedirectError::Scheme),
            ("data:text/html,x", RedirectError::Scheme),
            ("file:///etc/passwd", RedirectError::Scheme),
            ("vbscript:x", RedirectError::Scheme),
            ("ms-msdt:/id", RedirectError::Scheme),
            ("webcal://evil.example/cb", RedirectError::Scheme),
            ("SFTP://evil.example/cb", RedirectError::Scheme),
            ("smb://evil.example/share", RedirectError::Scheme),
            ("ldap://evil.example/", RedirectError::Scheme),
            ("feed:https://evil.example/", RedirectError::Scheme),
            ("git+ssh://evil.example/", RedirectError::Scheme),
            ("web+evil:/cb", RedirectError::Scheme),
            (
                "microsoft-edge:https://evil.example/",
                RedirectError::Scheme,
            ),
            ("c:/windows", RedirectError::Scheme),
            ("x-safari-https://evil.example/", RedirectError::Scheme),
            (
                "microsoft-edge-https://evil.example/",
                RedirectError::Scheme,
            ),
            (
                "firefox-focus://open-url?url=evil.example",
                RedirectError::Scheme,
            ),
            ("opera-https://evil.example/", RedirectError::Scheme),
            ("opera://settings", RedirectError::Scheme),
            ("ext+evil:/cb", RedirectError::Scheme),
            ("devtools://devtools/x", RedirectError::Scheme),
            ("chrome-search://x/", RedirectError::Scheme),
            (
                "googlechrome-x-callback://x-callback-url/open/",
                RedirectError::Scheme,
            ),
            ("safari-https://evil.example/", RedirectError::Scheme),
            ("ms-appinstaller:?source=x", RedirectError::Scheme),
            ("touch-https://evil.example/", RedirectError::Scheme),
            ("https:/authorize?client_id=B", RedirectError::Malformed),
            ("https:authorize?client_id=B", RedirectError::Malformed),
            ("https:///gateway.example/x", RedirectError::Malformed),
            ("HTTPS:/authorize", RedirectError::Malformed),
            ("http:/127.0.0.1/cb", RedirectError::Malformed),
            ("http:127.0.0.1/cb", RedirectError::Malformed),
            ("https://?x", RedirectError::Malformed),
            ("https://gateway.example/authorize?x", RedirectError::Own),
            ("https://GATEWAY.example/authorize", RedirectError::Own),
            ("https://gateway.example:443/authorize", RedirectError::Own),
            ("https://gateway.example./authorize", RedirectError::Own),
            ("https://%67ateway.example/authorize", RedirectError::Own),
            ("https://gateway.example/", RedirectError::Own),
        ] {
            assert_eq!(check(bad, &own()), Err(error), "{bad}");
        }
        assert_eq!(
            check(&format!("https://e.example/{}", "x".repeat(2048)), &own()),
            Err(RedirectError::Long)
        );
    }

    #[test]
    fn own_origin_includes_all_loopback_names() {
        let own = OwnOrigin::new(&"http://127.0.0.1:4180".parse().unwrap());
        for uri in [
            "http://127.0.0.1:4180/authorize",
            "http://localhost:4180/authorize",
            "http://LOCALHOST.:4180/",
            "http://app.localhost:4180/",
            "http://[::1]:4180/",
            "http://[::ffff:127.0.0.1]:4180/",
            "http://127.1:4180/",
            "http://0x7f000001:4180/",
            "http://0.0.0.0:4180/",
        ] {
            assert!(own.includes(uri), "{uri}");
        }
        for uri in [
            "http://127.0.0.1:4181/cb",
            "http://127.0.0.1/cb",
            "cursor://127.0.0.1:4180/cb",
            "https://client.example:4180/cb",
        ] {
            assert!(!own.includes(uri), "{uri}");
        }
        let own = self::own();
        // Plain http usually redirects to https.
        assert!(own.includes("http://gateway.example/authorize"));
        assert!(!own.includes("https://other.gateway.example/cb"));
        assert!(!own.includes("https://gateway.example:8443/cb"));
    }

    #[test]
    fn t14_t15_d24_redirect_uri_match_ignores_only_loopback_port() {
        let registered = [
            "https://client.example/cb",
            "http://127.0.0.1/cb",
            "http://localhost:3000/cb",
            "http://[::1]:1/cb?x=1",
            "app.example:/cb",
        ]
        .map(str::to_owned);
        for good in [
            "https://client.example/cb",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:49152/cb",
            "http://localhost:65535/cb",
            "http://localhost/cb",
            "http://[::1]:9/cb?x=1",
            "app.example:/cb",
        ] {
            assert!(find(&registered, good).is_some(), "{good}");
        }
        for bad in [
            "https://client.example/CB",
            "https://Client.example/cb",
            "https://client.example/cb/",
            "https://client.example/cb?",
            "https://client.example/cb?x=1",
            "https://client.example/cb#",
            "https://client.example/x/../cb",
            "https://client.example/%63b",
            "https://client.example:443/cb",
            "https://client.example:8443/cb",
            "https://user@client.example/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://127.0.0.2/cb",
            "http://localhost.evil.example/cb",
            "http://localhost:3000.evil.example/cb",
            "http://LOCALHOST:3000/cb",
            "http://[::1]:9/cb",
            "https://127.0.0.1:5/cb",
            "app.example:/cb2",
        ] {
            assert!(find(&registered, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn destination_has_matching_csp_source() {
        for (uri, source) in [
            ("https://client.example/cb", "https://client.example"),
            (
                "https://client.example:8443/cb",
                "https://client.example:8443",
            ),
            ("http://127.0.0.1:3000/cb", "http://127.0.0.1:3000"),
            ("http://[::1]:3000/cb", "http:"),
            ("com.example.app:/cb", "com.example.app:"),
        ] {
            assert_eq!(Destination::of(uri).csp_source(), source);
        }
    }
}
