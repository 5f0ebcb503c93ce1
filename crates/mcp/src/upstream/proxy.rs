//! The way to a server through an organisation's proxy.
//!
//! Owns: the tunnel through it: CONNECT (RFC 9110, section 9.3.6) or SOCKS 5 (RFC 1928).
//! Does not own: which proxy leads to a destination (`proxies`), and TLS to the destination, which
//! goes through the tunnel (`client`).

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

/// A TCP connection, or one in TLS to a proxy.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// Connects to destinations, through a proxy where one leads there.
#[derive(Clone, Debug)]
pub(super) struct ProxyConnector {
    direct: HttpConnector,
    /// To a proxy that is itself spoken to in TLS.
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
                let reason = format!("`{}` is no kind of proxy known here", other.unwrap_or(""));
                Box::pin(async move {
                    let proxy = shown.unwrap_or_default();
                    Err(BoxError::from(ProxyConnectError { proxy, reason }))
                })
            }
        }
    }
}

/// The same with the port that http means: those who ask proxies for a way take 443 for granted.
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
    // What came apart from a URI makes one again.
    Uri::from_parts(parts).unwrap_or_default()
}

impl Service<Uri> for ProxyConnector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // So are the connectors beneath.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Connecting {
        match self.proxies.on_the_way_to(&destination) {
            Some(proxy) => self.through(&proxy, destination),
            None => {
                let connecting = self.direct.call(destination);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        }
    }
}

/// Why a proxy does not lead to the server.
#[derive(Debug, thiserror::Error)]
#[error(
    "the proxy {proxy} does not lead there: {reason}; hint: check `proxy` in config.toml, or the system's settings"
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
