//! The one module that builds HTTP clients, and what can go wrong with a request.

use std::error::Error;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use model::is_loopback_host;
use reqwest::{Proxy, RequestBuilder};
use url::Url;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a request may take from start to end.
const TOTAL: Duration = Duration::from_secs(30);

/// How much of an answer is read. Metadata and token answers are a few kilobytes.
const LARGEST: usize = 1024 * 1024;

/// A client for OAuth and for control: no redirects, 10 seconds to connect, 30 in all, the
/// system's trust store with `extra_roots` added, and `proxy` except for this machine.
///
/// # Errors
///
/// When the TLS library cannot be set up.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn client(
    extra_roots: impl IntoIterator<Item = reqwest::Certificate>,
    proxy: &model::config::Proxy,
) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .proxy(route(proxy))
        .tls_certs_merge(extra_roots)
        .build()
}

/// The way to everything but this machine. The system's own settings do not always except that,
/// and a proxy cannot reach it.
fn route(proxy: &model::config::Proxy) -> Proxy {
    let proxies = match proxy {
        model::config::Proxy::System => Matcher::from_system(),
        model::config::Proxy::None => Matcher::builder().build(),
        model::config::Proxy::At(url) => Matcher::builder().all(url.as_str()).build(),
    };
    Proxy::custom(move |url| {
        if url.host_str().is_some_and(is_loopback_host) {
            return None;
        }
        let destination = url.as_str().parse::<Uri>().ok()?;
        address(&proxies.intercept(&destination)?)
    })
}

fn address(proxy: &Intercept) -> Option<Url> {
    let mut url = Url::parse(&proxy.uri().to_string()).ok()?;
    if let Some(header) = proxy.basic_auth() {
        let encoded = header.to_str().ok()?.strip_prefix("Basic ")?;
        let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        let (name, password) = pair.split_once(':')?;
        url.set_username(name).ok()?;
        url.set_password(Some(password)).ok()?;
    }
    Some(url)
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The other side's certificate is not trusted.
    #[error("{0}")]
    Untrusted(String),
    /// Anything else: name resolution, the network, a time limit, an endless answer.
    #[error("{0}")]
    Unreachable(String),
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// The body of an answer. It may carry tokens, so it is not shown.
pub(crate) struct Body(pub(crate) Vec<u8>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Sends a request and reads the answer up to a limit.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(fault)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Fault::Unreachable("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: Body(body),
    })
}

/// The delay a `Retry-After` header asks for, where it is in seconds; at most an hour.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(::http::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = seconds.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// What went wrong; names no URL, which may carry a code or a state.
pub(crate) fn fault(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Fault::Untrusted(error.to_string());
        }
        reason = error.to_string();
        // An io::Error skips what it wraps when asked for its source.
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    Fault::Unreachable(reason)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::time::Duration;

    use hyper_util::client::proxy::matcher::Matcher;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::{Fault, address, client, send};

    /// A TLS server for `localhost`, and the root that vouches for it.
    fn private_server() -> (SocketAddr, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &root).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, socket.unwrap());
                if stream.read(&mut [0; 4096]).is_ok() {
                    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer).unwrap();
                }
            }
        });
        (at, root.as_ref().der().to_vec())
    }

    #[tokio::test]
    async fn only_a_trusted_certificate_will_do() {
        let (at, root) = private_server();
        let url = format!("https://localhost:{}/", at.port());
        let stranger = send(client([], &model::config::Proxy::None).unwrap().get(&url)).await;
        let Err(Fault::Untrusted(reason)) = stranger else {
            panic!("{stranger:?}");
        };
        assert!(reason.contains("UnknownIssuer"), "{reason}");
        let root = reqwest::Certificate::from_der(&root).unwrap();
        let trusted = send(
            client([root], &model::config::Proxy::None)
                .unwrap()
                .get(&url),
        )
        .await
        .unwrap();
        assert_eq!(trusted.status, 204);
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable_and_said_so() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let url = format!("http://127.0.0.1:{port}/?code=secret");
        let Err(Fault::Unreachable(reason)) =
            send(client([], &model::config::Proxy::None).unwrap().get(url)).await
        else {
            panic!("something answered");
        };
        assert!(reason.contains("refused"), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }

    #[test]
    fn a_proxy_keeps_its_credentials() {
        let system = Matcher::builder()
            .all("http://user:p%40ss@proxy.example:3128")
            .build();
        let proxy = system.intercept(&"https://far.example/".parse().unwrap());
        let url = address(&proxy.unwrap()).unwrap();
        assert_eq!(url.host_str(), Some("proxy.example"));
        assert_eq!((url.username(), url.port()), ("user", Some(3128)));
        assert_eq!(url.password(), Some("p%40ss"));
    }

    #[test]
    fn retry_after_is_in_seconds_and_bounded() {
        let wait = |text: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            super::retry_after(&headers)
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
