//! Connections through an organisation's proxy.
//!
//! Owns: the tunnel, by CONNECT (RFC 9110 §9.3.6) or SOCKS 5 (RFC 1928). Does not own: which proxy
//! a destination needs (`proxies`), and TLS to the destination inside the tunnel (`client`).

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use model::config::Proxy;
use proxies::Proxies;
use reach::innermost;
use tokio::net::TcpStream;
use tower::Service;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// A TCP connection, or a TLS connection to a proxy.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// Connects to destinations, through a proxy where they need one.
#[derive(Clone, Debug)]
pub(super) struct ProxyConnector {
    direct: HttpConnector,
    /// Connects to proxies that speak TLS.
    secure: HttpsConnector<HttpConnector>,
    proxies: Proxies,
}

impl ProxyConnector {
    pub(super) fn new(
        direct: HttpConnector,
        secure: HttpsConnector<HttpConnector>,
        proxy: &Proxy,
    ) -> Self {
        Self {
            direct,
            secure,
            proxies: Proxies::new(proxy),
        }
    }

    fn through(&self, proxy: &Intercept, destination: Uri) -> Connecting {
        let destination = with_port(destination);
        let at = proxy.uri().clone();
        let shown = at.authority().map(|at| at.host().to_owned());
        match at.scheme_str() {
            Some(scheme @ ("socks5" | "socks5h")) => {
                let mut socks = SocksV5::new(at.clone(), self.direct.clone());
                socks = socks.local_dns(scheme == "socks5");
                if let Some((name, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(name.to_owned(), password.to_owned());
                }
                let connecting = socks.call(destination);
                Box::pin(async move {
                    let stream = connecting
                        .await
                        .map_err(|error| proxy_connect_error(shown, &error))?;
                    Ok(MaybeHttpsStream::Http(stream))
                })
            }
            Some("http" | "https") => {
                let mut tunnel = Tunnel::new(at.clone(), self.secure.clone());
                if let Some(header) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(header.clone());
                }
                let connecting = tunnel.call(destination);
                Box::pin(async move {
                    connecting
                        .await
                        .map_err(|error| proxy_connect_error(shown, &error))
                })
            }
            other => {
                let reason = format!("unsupported proxy scheme `{}`", other.unwrap_or(""));
                Box::pin(async move {
                    let proxy = shown.unwrap_or_default();
                    Err(BoxError::from(ProxyConnectError { proxy, reason }))
                })
            }
        }
    }
}

/// Adds port 80 to an http URI without a port. The proxy connectors assume 443.
fn with_port(uri: Uri) -> Uri {
    let host = uri.host().filter(|_| uri.port().is_none());
    let (Some("http"), Some(host)) = (uri.scheme_str(), host) else {
        return uri;
    };
    let Ok(authority) = format!("{host}:80").parse() else {
        return uri;
    };
    let mut parts = uri.into_parts();
    parts.authority = Some(authority);
    // The parts come from a valid URI and make a valid one again.
    Uri::from_parts(parts).unwrap_or_default()
}

impl Service<Uri> for ProxyConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The connectors below are always ready as well.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Connecting {
        match self.proxies.proxy_for(&destination) {
            Some(proxy) => self.through(&proxy, destination),
            None => {
                let connecting = self.direct.call(destination);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        }
    }
}

/// Why a proxy does not connect to the server.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reach the server through the proxy {proxy}: {reason}; hint: check `proxy` in config.toml, or the system's settings"
)]
struct ProxyConnectError {
    proxy: String,
    reason: String,
}

fn proxy_connect_error(proxy: Option<String>, error: &(dyn Error + 'static)) -> BoxError {
    let proxy = proxy.unwrap_or_default();
    let reason = innermost(error);
    Box::new(ProxyConnectError { proxy, reason })
}
