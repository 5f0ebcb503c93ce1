//! The one module that builds HTTP clients, and the errors of requests.

mod certificate;
mod private_network;
mod proxies;
mod tls_probe;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use reach::{CertificateFlaw, Obstacle, UnknownName};
use reqwest::RequestBuilder;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;
use threads::connecting::{self, InOwnTask};
use url::{Host, Url};

use private_network::{
    Lookup, PrivateAddressError, PublicResolver, is_private_address, system_lookup,
};
use proxies::Proxies;
use texts::{Describe, Text, error_in_english, text};
pub(crate) use tls_probe::{ProbeResult, probe};

/// The timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of a request, from start to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an idle connection stays open, and how many stay open for one host. A sign-in sends a
/// few requests in a row, and then none for an hour. Most servers close idle connections after
/// five seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_IDLE_PER_HOST: usize = 2;

/// The maximum size of a response. Token responses are a few kilobytes.
const MAX_BODY: usize = 1024 * 1024;

/// The maximum size of a document from an untrusted address, which is a few kilobytes too, and its
/// timeout.
const MAX_DOCUMENT: usize = 64 * 1024;
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Creates a client for OAuth and for control: no redirects, 10 seconds to connect, 30 in all, the
/// system's trust store with `extra_roots`, and `proxy` except for this machine.
///
/// # Errors
///
/// If the TLS library cannot be set up.
pub fn client(
    extra_roots: impl IntoIterator<Item = CertificateDer<'static>>,
    proxy: &model::config::Proxy,
) -> reqwest::Result<reqwest::Client> {
    let roots = Vec::from_iter(extra_roots);
    builder(&roots, &Proxies::new(proxy))?.build()
}

fn builder(
    extra_roots: &[CertificateDer<'static>],
    proxies: &Proxies,
) -> reqwest::Result<reqwest::ClientBuilder> {
    let builder = builder_without_tls(proxies);
    Ok(match tls(extra_roots, connecting::Verifier) {
        Ok(tls) => builder.tls_backend_preconfigured(tls),
        // `build` meets the same error and reports it.
        Err(_) => builder.tls_certs_merge(trusted(extra_roots)?),
    })
}

/// Creates a TLS configuration with the verifier that `wrap` makes of the system's, which also
/// trusts `extra_roots`.
fn tls<V: ServerCertVerifier + 'static>(
    extra_roots: &[CertificateDer<'static>],
    wrap: impl FnOnce(Verifier) -> V,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = extra_roots.iter().cloned();
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(wrap(verifier)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Connections open in tasks of their own, so that timeouts fire while the system looks up proxies
/// or verifies a certificate.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
fn builder_without_tls(proxies: &Proxies) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .proxy(proxies.route())
        .connector_layer(InOwnTask)
}

/// The HTTP clients, each as [`client`] creates it. One is for addresses that the user or a server
/// in the local network names. The other is for addresses that a server on the internet names, and
/// resolves no name to a private network address.
#[derive(Clone)]
pub struct HttpClients {
    pub(crate) unrestricted: reqwest::Client,
    public_only: reqwest::Client,
    roots: Vec<CertificateDer<'static>>,
    proxies: Proxies,
    lookup: Lookup,
    is_private_address: fn(IpAddr) -> bool,
}

/// The network zone of the party that names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkZone {
    /// The user, this machine or the local network. May name every address.
    Local,
    /// The internet. May name public addresses only.
    Public,
}

impl HttpClients {
    /// Like [`client`].
    ///
    /// # Errors
    ///
    /// If the TLS library cannot be set up.
    pub fn new(
        extra_roots: impl IntoIterator<Item = CertificateDer<'static>>,
        proxy: &model::config::Proxy,
    ) -> reqwest::Result<Self> {
        let (roots, proxies) = (Vec::from_iter(extra_roots), Proxies::new(proxy));
        let unrestricted = builder(&roots, &proxies)?.build()?;
        Self::with_resolver(
            unrestricted,
            roots,
            proxies,
            system_lookup(),
            is_private_address,
        )
    }

    fn with_resolver(
        unrestricted: reqwest::Client,
        roots: Vec<CertificateDer<'static>>,
        proxies: Proxies,
        lookup: Lookup,
        is_private_address: fn(IpAddr) -> bool,
    ) -> reqwest::Result<Self> {
        let mut clients = Self {
            public_only: unrestricted.clone(),
            unrestricted,
            roots,
            proxies,
            lookup,
            is_private_address,
        };
        let public_only = builder(&clients.roots, &clients.proxies)?;
        clients.public_only = public_only
            .dns_resolver(clients.public_resolver())
            .build()?;
        Ok(clients)
    }

    /// Returns a resolver that drops private network addresses.
    fn public_resolver(&self) -> Arc<PublicResolver> {
        Arc::new(PublicResolver {
            lookup: Arc::clone(&self.lookup),
            is_private_address: self.is_private_address,
            proxies: self.proxies.clone(),
        })
    }

    /// Returns the proxy for `url`, without its credentials.
    pub(crate) fn proxy_to(&self, url: &Url) -> Option<Url> {
        let mut proxy = self.proxies.proxy_for(url)?;
        proxy.set_username("").ok()?;
        proxy.set_password(None).ok()?;
        Some(proxy)
    }

    /// Returns the client for an address that a party in this zone names.
    pub(crate) fn client_for(&self, zone: NetworkZone) -> &reqwest::Client {
        match zone {
            NetworkZone::Local => &self.unrestricted,
            NetworkZone::Public => &self.public_only,
        }
    }

    /// Returns the zone of the server that answered, by the address of its connection. Behind a
    /// proxy that address is unknown, and the host in the URL counts.
    pub(crate) fn zone_of(&self, url: &Url, peer: Option<SocketAddr>) -> NetworkZone {
        let connected = peer.filter(|_| self.proxies.proxy_for(url).is_none());
        let is_private = match connected {
            Some(peer) => (self.is_private_address)(peer.ip()),
            None => self.has_private_host(url),
        };
        match is_private {
            true => NetworkZone::Local,
            false => NetworkZone::Public,
        }
    }

    /// Returns true if a party in this zone may name `url`, judged by its text. The resolver of
    /// [`client_for`](Self::client_for) judges what its name resolves to.
    pub(crate) fn is_allowed(&self, zone: NetworkZone, url: &Url) -> bool {
        match zone {
            NetworkZone::Local => true,
            NetworkZone::Public => !self.has_private_host(url),
        }
    }

    fn has_private_host(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => (self.is_private_address)(address.into()),
            Some(Host::Ipv6(address)) => (self.is_private_address)(address.into()),
            None => true,
        }
    }
}

impl fmt::Debug for HttpClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

fn trusted(roots: &[CertificateDer<'static>]) -> reqwest::Result<Vec<reqwest::Certificate>> {
    let read = |root: &CertificateDer<'_>| reqwest::Certificate::from_der(root);
    roots.iter().map(read).collect()
}

/// Why a request got no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The server's certificate is not trusted.
    Untrusted(CertificateFlaw),
    /// The URL is https, and the port does not speak TLS.
    NotTls,
    /// Its name does not resolve.
    UnknownName(UnknownName),
    /// A party on the internet named an address in the local network.
    PrivateAddress(String),
    /// Anything else: the resolver, the network, a timeout, an endless response.
    Unreachable(Text),
}

error_in_english!(HttpError);

impl Describe for HttpError {
    fn text(&self) -> Text {
        match self {
            Self::Untrusted(flaw) => flaw.text(),
            Self::NotTls => text!(NoTlsOnPort),
            Self::UnknownName(name) => name.text(),
            Self::PrivateAddress(what) => Text::verbatim(what),
            Self::Unreachable(reason) => reason.clone(),
        }
    }
}

impl HttpError {
    /// Converts the error of a request of [`client`]. The result contains no URL, which may carry
    /// a code or a state.
    #[must_use]
    pub fn from_reqwest(error: reqwest::Error) -> Self {
        let host = error.url().and_then(Url::host_str).map(str::to_owned);
        let is_connect = error.is_connect();
        let error = error.without_url();
        if let Some(private) = reach::cause::<PrivateAddressError>(&error) {
            return Self::PrivateAddress(private.to_string());
        }
        match Obstacle::find(&error, host.as_deref().unwrap_or_default()) {
            Some(Obstacle::Certificate(flaw)) => Self::Untrusted(flaw),
            Some(Obstacle::NotTls) if is_connect => Self::NotTls,
            Some(Obstacle::Name(name)) => Self::UnknownName(name),
            Some(Obstacle::NotTls) | None => {
                Self::Unreachable(Text::verbatim(reach::innermost(&error)))
            }
        }
    }
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct BufferedResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// The address of the server, or of the proxy.
    pub(crate) peer: Option<SocketAddr>,
}

/// The body of a response. It may contain tokens, so `Debug` does not show it.
pub(crate) struct Body(pub(crate) Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Sends a request and reads the response up to [`MAX_BODY`].
pub(crate) async fn send(request: RequestBuilder) -> Result<BufferedResponse, HttpError> {
    read(request, MAX_BODY).await
}

/// Fetches a document, which must be short and arrive soon.
pub(crate) async fn fetch(request: RequestBuilder) -> Result<BufferedResponse, HttpError> {
    read(request.timeout(DOCUMENT_TIMEOUT), MAX_DOCUMENT).await
}

async fn read(request: RequestBuilder, max_body: usize) -> Result<BufferedResponse, HttpError> {
    let mut response = request.send().await.map_err(HttpError::from_reqwest)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(HttpError::from_reqwest)? {
        if body.len() + chunk.len() > max_body {
            return Err(HttpError::Unreachable(text!(ResponseTooLong)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(BufferedResponse {
        status: response.status(),
        peer: response.remote_addr(),
        headers: std::mem::take(response.headers_mut()),
        body: Body(body),
    })
}

/// Returns the delay of a `Retry-After` header in seconds, at most one hour. Returns `None` for a
/// date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(::http::header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = seconds.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

#[cfg(test)]
pub(crate) mod tests;
