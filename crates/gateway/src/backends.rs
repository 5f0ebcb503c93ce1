//! Sends requests to backends. Streams both ways, decompresses nothing and follows no redirect.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::timeouts::{PROBE_AFTER, PROBE_EVERY};
use crate::without_trailers::WithoutTrailers;

/// The largest body of a request, in bytes.
pub(crate) const MAX_REQUEST_BODY: usize = 16 << 20;

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long a connection may be idle. Node.js and uvicorn close after five seconds, and a call that is
/// sent at that moment is lost.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// How long a backend may take until its response begins. Tools may work for long, and callers have
/// limits of their own. This limit is for backends that never respond.
const HEAD_TIME: Duration = Duration::from_secs(10 * 60);

/// The connections to all backends.
pub(crate) struct Backends(Client<HttpsConnector<HttpConnector>, Limited<WithoutTrailers<Body>>>);

/// A request to a backend. Its headers come from `proxy::permit::BackendCredential` and from those of
/// the caller that may be forwarded.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The caller sent more than [`MAX_REQUEST_BODY`].
    TooLarge,
    /// The backend cannot be reached, or closed the connection.
    Unreachable(String),
    /// The backend took longer than [`HEAD_TIME`].
    Late,
}

impl Backends {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        connector.set_keepalive(Some(PROBE_AFTER));
        connector.set_keepalive_interval(Some(PROBE_EVERY));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PROBE_AFTER)
            .http2_keep_alive_timeout(PROBE_EVERY)
            .build(connector);
        Ok(Self(client))
    }

    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::new(Limited::new(
            WithoutTrailers(outgoing.body),
            MAX_REQUEST_BODY,
        ));
        *request.method_mut() = outgoing.method;
        *request.uri_mut() = outgoing.uri;
        *request.headers_mut() = outgoing.headers;
        let response = tokio::time::timeout(HEAD_TIME, self.0.request(request));
        let response = response.await.map_err(|_| SendError::Late)?;
        response.map_err(|error| {
            if is_too_large(&error) {
                SendError::TooLarge
            } else {
                // The cause is only in the sources of hyper's error.
                let causes: Vec<_> = chain(&error).map(ToString::to_string).collect();
                SendError::Unreachable(causes.join(": "))
            }
        })
    }
}

fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.is::<LengthLimitError>())
}

/// Returns an error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}
