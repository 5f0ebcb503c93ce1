//! The one module that builds HTTP clients, and what can go wrong with a request.

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

use private_network::{LeadsInside, Lookup, OutsideOnly, by_the_system, is_neighbour};
use proxies::Proxies;
pub(crate) use tls_probe::{Seen, look};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a request may take from start to end.
const TOTAL: Duration = Duration::from_secs(30);

/// How long an idle connection stays open, and how many to one host. A sign-in asks a few times in
/// a row, and then not for an hour; most servers close idle connections after five seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_IDLE_PER_HOST: usize = 2;

/// How much of an answer is read. Token answers are a few kilobytes.
const LARGEST: usize = 1024 * 1024;

/// The same for a document that a stranger names, which is a few kilobytes too, and how long it
/// may take to come.
const LARGEST_DOCUMENT: usize = 64 * 1024;
const DOCUMENT: Duration = Duration::from_secs(10);

/// A client for OAuth and for control: no redirects, 10 seconds to connect, 30 in all, the
/// system's trust store with `extra_roots` added, and `proxy` except for this machine.
///
/// # Errors
///
/// When the TLS library cannot be set up.
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
    let builder = without_trust(proxies);
    Ok(match tls(extra_roots, connecting::Verifier) {
        Ok(tls) => builder.tls_backend_preconfigured(tls),
        // It meets the same error, and says so.
        Err(_) => builder.tls_certs_merge(trusted(extra_roots)?),
    })
}

/// TLS with the verifier that `wrap` makes of the system's, which trusts `extra_roots` too.
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

/// Connections open in tasks of their own, so that timeouts fire while the system is asked for
/// proxies or judges a certificate.
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
fn without_trust(proxies: &Proxies) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .proxy(proxies.route())
        .connector_layer(InOwnTask)
}

/// What requests go out by, as [`client`] makes it: one client for what is named by the user or
/// by somebody inside, and one for what is named from outside, to which no name of a neighbour
/// means anything.
#[derive(Clone)]
pub struct Clients {
    pub(crate) anywhere: reqwest::Client,
    outside: reqwest::Client,
    roots: Vec<CertificateDer<'static>>,
    proxies: Proxies,
    lookup: Lookup,
    is_neighbour: fn(IpAddr) -> bool,
}

/// On which side of the border of the local network somebody is who names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// On this machine or near it, or the user: may name everything.
    Inside,
    /// On the internet: may name what is there.
    Outside,
}

impl Clients {
    /// As [`client`].
    ///
    /// # Errors
    ///
    /// When the TLS library cannot be set up.
    pub fn new(
        extra_roots: impl IntoIterator<Item = CertificateDer<'static>>,
        proxy: &model::config::Proxy,
    ) -> reqwest::Result<Self> {
        let (roots, proxies) = (Vec::from_iter(extra_roots), Proxies::new(proxy));
        let anywhere = builder(&roots, &proxies)?.build()?;
        Self::around(anywhere, roots, proxies, by_the_system(), is_neighbour)
    }

    fn around(
        anywhere: reqwest::Client,
        roots: Vec<CertificateDer<'static>>,
        proxies: Proxies,
        lookup: Lookup,
        is_neighbour: fn(IpAddr) -> bool,
    ) -> reqwest::Result<Self> {
        let mut clients = Self {
            outside: anywhere.clone(),
            anywhere,
            roots,
            proxies,
            lookup,
            is_neighbour,
        };
        let outside = builder(&clients.roots, &clients.proxies)?;
        clients.outside = outside.dns_resolver(clients.outside_only()).build()?;
        Ok(clients)
    }

    /// What resolves no name to a neighbour.
    fn outside_only(&self) -> Arc<OutsideOnly> {
        Arc::new(OutsideOnly {
            lookup: Arc::clone(&self.lookup),
            is_neighbour: self.is_neighbour,
            proxies: self.proxies.clone(),
        })
    }

    /// The proxy on the way to `url`, without what opens it.
    pub(crate) fn proxy_to(&self, url: &Url) -> Option<Url> {
        let mut proxy = self.proxies.on_the_way_to(url)?;
        proxy.set_username("").ok()?;
        proxy.set_password(None).ok()?;
        Some(proxy)
    }

    /// The client for an address that somebody on this side names.
    pub(crate) fn named_from(&self, side: Side) -> &reqwest::Client {
        match side {
            Side::Inside => &self.anywhere,
            Side::Outside => &self.outside,
        }
    }

    /// On which side an answer was given: by who was connected to. Behind a proxy that is not
    /// known, and what is written counts.
    pub(crate) fn side_of(&self, url: &Url, peer: Option<SocketAddr>) -> Side {
        let connected = peer.filter(|_| self.proxies.on_the_way_to(url).is_none());
        let is_inside = match connected {
            Some(peer) => (self.is_neighbour)(peer.ip()),
            None => self.is_written_inside(url),
        };
        match is_inside {
            true => Side::Inside,
            false => Side::Outside,
        }
    }

    /// Whether somebody on this side may name `url`, as far as it can be told by how it is
    /// written; where names lead, [`named_from`](Self::named_from) sees to.
    pub(crate) fn may_name(&self, side: Side, url: &Url) -> bool {
        match side {
            Side::Inside => true,
            Side::Outside => !self.is_written_inside(url),
        }
    }

    fn is_written_inside(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => (self.is_neighbour)(address.into()),
            Some(Host::Ipv6(address)) => (self.is_neighbour)(address.into()),
            None => true,
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

fn trusted(roots: &[CertificateDer<'static>]) -> reqwest::Result<Vec<reqwest::Certificate>> {
    let read = |root: &CertificateDer<'_>| reqwest::Certificate::from_der(root);
    roots.iter().map(read).collect()
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The other side's certificate is not trusted.
    #[error("{0}")]
    Untrusted(CertificateFlaw),
    /// The URL is https, and the port does not speak TLS.
    #[error("it does not speak TLS on that port")]
    NotTls,
    /// Its name does not resolve.
    #[error("{0}")]
    UnknownName(UnknownName),
    /// A stranger named it, and it is in the local network.
    #[error("{0}")]
    Inside(String),
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
    /// Who gave it, or the proxy that passed it on.
    pub(crate) peer: Option<SocketAddr>,
}

/// The body of an answer. It may carry tokens, so it is not shown.
pub(crate) struct Body(pub(crate) Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Sends a request and reads the answer up to a limit.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, Fault> {
    read(request, LARGEST).await
}

/// The same for a document, which has to be short and to come soon.
pub(crate) async fn fetch(request: RequestBuilder) -> Result<Answer, Fault> {
    read(request.timeout(DOCUMENT), LARGEST_DOCUMENT).await
}

async fn read(request: RequestBuilder, largest: usize) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(fault)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > largest {
            return Err(Fault::Unreachable("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status: response.status(),
        peer: response.remote_addr(),
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

/// Why a request of [`client`] has no answer; names no URL, which may carry a code or a state.
#[must_use]
pub fn fault(error: reqwest::Error) -> Fault {
    let host = error.url().and_then(Url::host_str).map(str::to_owned);
    let is_connect = error.is_connect();
    let error = error.without_url();
    if let Some(inside) = reach::cause::<LeadsInside>(&error) {
        return Fault::Inside(inside.to_string());
    }
    match Obstacle::find(&error, host.as_deref().unwrap_or_default()) {
        Some(Obstacle::Certificate(flaw)) => Fault::Untrusted(flaw),
        Some(Obstacle::NotTls) if is_connect => Fault::NotTls,
        Some(Obstacle::Name(name)) => Fault::UnknownName(name),
        Some(Obstacle::NotTls) | None => Fault::Unreachable(reach::innermost(&error)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
