//! The HTTP client that all connections share.
//!
//! Owns: TCP, TLS and the connection pool. It uses HTTP/1.1 or HTTP/2 by ALPN, the trust store of
//! the operating system, and extra certificate authorities. It follows no redirects, decompresses
//! nothing, and limits no response in time, because streams stay open for days.
//! Does not own: connections through a proxy (`proxy`), how long a connection may be idle (`idle`),
//! and how many may be open (`in_flight`).

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::config::Proxy;
use reach::Obstacle;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use threads::connecting::{self, OwnTask};
use tokio::time::Instant;
use tower::Service;

use texts::Describe;

use super::UpstreamError;
use super::connection::Closable;
use super::idle::{Idle, WatchedBody};
use super::in_flight::{AtCapacity, InFlight, Lane};
use super::outgoing::RequestBody;
use super::proxy::{BoxError, ProxyConnector};

/// Covers name resolution, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without traffic for this long is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A connection whose probe is unanswered for this long is closed.
const GIVE_UP: Duration = Duration::from_secs(20);
const KEEP_ALIVE_PROBES: u32 = 4;
const HTTP2_STREAM_WINDOW: u32 = 1 << 20;
/// Far above the window of one stream, so that a stream that is not read blocks no other.
const HTTP2_CONNECTION_WINDOW: u32 = 1 << 26;
const DEFAULT_LIMIT: usize = 64 << 20;
/// How many connections may be open where nothing limits them, as on Windows.
const DEFAULT_MAX_CONNECTIONS: usize = 16_384;
/// How many idle connections to one server the pool takes back. It closes all others at once, which
/// costs the next burst of calls as many round trips. `idle` closes most of the pooled ones soon.
const MAX_POOLED_PER_SERVER: usize = 256;

/// Options of a [`Client`].
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Certificate authorities that are trusted in addition to those of the operating system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The proxy for servers that are not on this computer.
    pub proxy: Proxy,
    /// How many connections may be open at once, if there is a limit.
    pub max_connections: Option<usize>,
}

/// Why a client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An extra certificate authority is invalid, or TLS is unavailable.
    #[error(
        "TLS cannot be set up: {0}; hint: check the extra certificate authorities in the settings"
    )]
    Tls(#[from] rustls::Error),
}

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub struct Client {
    connections: Arc<Connections>,
    limit: usize,
}

/// The secret headers of a request. They are stored as an extension of its response, because an
/// error text that quotes the server must not repeat them.
#[derive(Clone)]
pub(super) struct SentSecrets(Vec<HeaderValue>);

impl SentSecrets {
    fn from_request<B>(request: &Request<B>) -> Self {
        let headers = request.headers().values();
        Self(
            headers
                .filter(|value| value.is_sensitive())
                .cloned()
                .collect(),
        )
    }

    /// Returns the values that are text.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|value| value.to_str().ok())
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error(transparent)]
    Http(#[from] legacy::Error),
    /// The request was not sent.
    #[error(transparent)]
    AtCapacity(#[from] AtCapacity),
}

impl RequestError {
    /// Returns the error that this means for the request to `uri`.
    pub(super) fn to_upstream_error(&self, uri: &Uri) -> UpstreamError {
        let error = match self {
            Self::Http(error) => error,
            Self::AtCapacity(at_capacity) => {
                return UpstreamError::Unreachable {
                    reason: at_capacity.to_string(),
                    sent: false,
                };
            }
        };
        let unsent = error.is_connect()
            || reach::cause::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
        let reason = match Obstacle::find(error, uri.host().unwrap_or_default()) {
            Some(Obstacle::Certificate(flaw)) => return UpstreamError::Untrusted { flaw },
            Some(Obstacle::NotTls) if unsent => return UpstreamError::NotTls,
            Some(Obstacle::Name(name)) => name.text().to_string(),
            Some(Obstacle::NotTls) | None => reach::innermost(error),
        };
        UpstreamError::Unreachable {
            reason,
            sent: !unsent,
        }
    }
}

type Connector = TimedConnector<OwnTask<HttpsConnector<ProxyConnector>>>;
type Pool = legacy::Client<Connector, RequestBody>;

struct Connections {
    connector: Connector,
    pool: RwLock<Arc<Pool>>,
    idle: Idle,
    in_flight: InFlight,
}

impl Connections {
    /// Allots two thirds of `max` connections to pending requests, and a third to idle ones.
    fn new(connector: HttpsConnector<ProxyConnector>, max: usize) -> Self {
        let idle = Idle::new(max / 3);
        let connector = TimedConnector {
            connector: OwnTask(connector),
            idle: idle.clone(),
        };
        Self {
            pool: RwLock::new(Arc::new(pool(connector.clone()))),
            connector,
            idle,
            in_flight: InFlight::new(max - max / 3),
        }
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Client {
    /// Creates a client without connections. Reads the operating system's trust store, so create
    /// one client and share it.
    ///
    /// # Errors
    ///
    /// If an extra root is not a valid certificate, or the crypto provider does not support TLS.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let tls = tls(options.extra_roots)?;
        let to_proxy = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(ProxyConnector::new(tcp(), to_proxy, &options.proxy));
        let max = options.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS);
        Ok(Self {
            connections: Arc::new(Connections::new(connector, max)),
            limit: DEFAULT_LIMIT,
        })
    }

    /// Sets the limit of one response or one event, in bytes. The default is 64 MiB.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Sends a request. Returns when the head of the response has arrived.
    pub(super) async fn request(
        &self,
        lane: Lane,
        request: Request<RequestBody>,
    ) -> Result<Response<WatchedBody>, RequestError> {
        let connections = &self.connections;
        let permit = connections.in_flight.permit(lane, request.uri()).await?;
        connections.idle.close_expired(Instant::now());
        let secrets = SentSecrets::from_request(&request);
        let mut response = connections.pool().request(request).await?;
        response.extensions_mut().insert(secrets);
        Ok(connections.idle.watch(response, permit))
    }

    /// Uses new connections for all requests from now on. Requests that are pending on the present
    /// connections continue.
    pub fn forget_connections(&self) {
        let connections = &self.connections;
        let pool = Arc::new(pool(connections.connector.clone()));
        *connections
            .pool
            .write()
            .unwrap_or_else(PoisonError::into_inner) = pool;
    }
}

fn pool(connector: Connector) -> Pool {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(MAX_POOLED_PER_SERVER)
        .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(GIVE_UP)
        .build(connector)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(GIVE_UP / KEEP_ALIVE_PROBES));
    tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    // Probes are not sent while data is unacknowledged, as after the computer slept.
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(KEEP_ALIVE));
    tcp
}

fn tls(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let only_the_system = extra_roots.is_empty();
    let config = match Verifier::new_with_extra_roots(extra_roots, provider) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(connecting::Verifier(verifier))),
        // Without any certificate authority, servers on this computer can still be reached.
        Err(error) if only_the_system => {
            tracing::warn!(%error, "the system's trust store is empty: no https server is trusted");
            builder.with_root_certificates(RootCertStore::empty())
        }
        Err(error) => return Err(error),
    };
    Ok(config.with_no_client_auth())
}

/// A connector that fails after [`CONNECT_TIMEOUT`], TLS included.
#[derive(Clone)]
struct TimedConnector<C> {
    connector: C,
    idle: Idle,
}

impl<C> Service<Uri> for TimedConnector<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Response: Connection + Send,
    C::Future: Send + 'static,
{
    type Response = Closable<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let server = uri.authority().cloned();
        let idle = self.idle.clone();
        let connecting = self.connector.call(uri);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            let stream = connected.map_err(|_| "no connection within ten seconds")??;
            let is_shared = stream.connected().is_negotiated_h2();
            let stream = Closable::new(stream, server);
            if !is_shared {
                idle.record_opened(stream.closer().clone());
            }
            Ok(stream)
        })
    }
}
