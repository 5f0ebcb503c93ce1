//! Relays one request to a backend, and the response to the caller.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_ENCODING, CONTENT_LENGTH,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use hyper::body::Incoming;

use super::body::{KeepAlive, RelayOptions, Relayed};
use super::error::{ProxyError, RequestTarget};
use super::message_endpoint::{self, EndpointEventRewriter};
use super::permit::{self, BackendCredential, Permit, PermitError};
use super::{headers, mcp_session};
use crate::backends::{MAX_REQUEST_BODY, Outgoing, SendError};
use crate::bearer;
use crate::cors;
use crate::gateway_state::GatewayState;
use crate::places::OpenRequest;
use crate::servers::Server;
use crate::storage::Seconds;

/// How long the response to a message may take at least, in seconds, so that a call does not fail
/// because its access token expires soon.
const LAST_WORD: Seconds = 15 * 60;

/// Streamable HTTP: `/{server}/mcp`.
pub(super) async fn streamable(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
) -> Response {
    relay(gateway, request, Transport::Streamable).await
}

/// The stream of HTTP+SSE: `/{server}/sse`.
pub(super) async fn sse(State(gateway): State<Arc<GatewayState>>, request: Request) -> Response {
    relay(gateway, request, Transport::Sse).await
}

/// The messages of HTTP+SSE: `/{server}/message`.
pub(super) async fn message(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
) -> Response {
    relay(gateway, request, Transport::Message).await
}

/// Answers the preflight of a web page.
pub(super) async fn preflight(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
) -> Response {
    let response = match check_origin(&gateway, request.headers()) {
        Ok(()) => cors::preflight("GET, POST, DELETE, OPTIONS", request.headers()),
        Err(refusal) => refusal.answer(&RequestTarget {
            gateway: &gateway,
            server: None,
            resource: "",
        }),
    };
    with_cors(&gateway, request.headers().get(ORIGIN).cloned(), response)
}

/// Answers requests for paths without an endpoint.
pub(crate) async fn nowhere(
    State(gateway): State<Arc<GatewayState>>,
    request: Request,
) -> Response {
    let response = ProxyError::NoSuchServer.answer(&RequestTarget {
        gateway: &gateway,
        server: None,
        resource: "",
    });
    with_cors(&gateway, request.headers().get(ORIGIN).cloned(), response)
}

/// The transport of a server's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Streamable,
    Sse,
    Message,
}

async fn relay(gateway: Arc<GatewayState>, request: Request, transport: Transport) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let path = request.uri().path().to_owned();
    // The protected resource of HTTP+SSE is its stream.
    let resource = match path.strip_suffix("/message") {
        Some(base) if transport == Transport::Message => format!("{base}/sse"),
        _ => path.clone(),
    };
    let server = server_at(&gateway, &path, transport);
    let is_stream = asks_for_stream(&request);
    if let Some(open) = request.extensions().get::<Arc<OpenRequest>>()
        && is_stream
    {
        open.record_stream();
    }
    let outcome = match (check_origin(&gateway, request.headers()), &server) {
        (Err(error), _) => Err(error),
        (Ok(()), None) => Err(ProxyError::NoSuchServer),
        (Ok(()), Some(server)) => pass(&gateway, request, (transport, is_stream), server).await,
    };
    let target = RequestTarget {
        gateway: &gateway,
        server: server.as_deref(),
        resource: &resource,
    };
    let response = outcome.unwrap_or_else(|error| error.answer(&target));
    with_cors(&gateway, origin, response)
}

/// Returns true if the response is a stream without an end, and not the response to a call.
fn asks_for_stream(request: &Request) -> bool {
    let method = request.headers().get("mcp-method");
    *request.method() == Method::GET
        || method.is_some_and(|method| method.as_bytes() == b"subscriptions/listen")
}

/// Returns the server at a path. The path is compared as it is written, without decoding.
fn server_at(gateway: &GatewayState, path: &str, transport: Transport) -> Option<Arc<Server>> {
    let server = match path {
        "/mcp" | "/mcp/sse" | "/mcp/message" => gateway.servers.root(),
        _ => gateway
            .servers
            .get(path.strip_prefix('/')?.split('/').next()?),
    };
    server
        .filter(|server| transport == Transport::Streamable || server.sse_url.is_some())
        .cloned()
}

async fn pass(
    gateway: &Arc<GatewayState>,
    request: Request,
    (transport, is_stream): (Transport, bool),
    server: &Arc<Server>,
) -> Result<Response, ProxyError> {
    let caller = bearer::authenticate(gateway, request.headers(), request.uri()).await?;
    let open = request.extensions().get::<Arc<OpenRequest>>();
    if open.is_some_and(|open| !open.record_session()) {
        return Err(ProxyError::Full);
    }
    let permit = permit::decide(&caller, server).map_err(|denied| match denied {
        PermitError::OtherServer => ProxyError::InvalidToken,
        PermitError::Missing(scopes) => ProxyError::MissingScopes(scopes),
    })?;
    if is_announced_too_large(request.headers()) {
        return Err(ProxyError::TooLarge);
    }
    // A request that has not begun when the gateway stops can be sent again.
    if gateway.drain.cut.is_cancelled() {
        return Err(ProxyError::Ending);
    }
    let context = ResponseContext {
        transport,
        path: request.uri().path().to_owned(),
        left: time_left(&permit, is_stream, gateway.now()),
    };
    let outgoing = prepare(gateway, &permit, request, transport)?;
    let uri = outgoing.uri.clone();
    let response = tokio::select! {
        response = gateway.backends.send(outgoing) => response,
        () = gateway.drain.cut.cancelled() => return Err(ProxyError::CutOff),
    };
    let response = response.map_err(|error| match error {
        SendError::TooLarge => ProxyError::TooLarge,
        SendError::Late => {
            tracing::warn!(server = %server.name, "a backend does not respond");
            ProxyError::BackendSlow
        }
        SendError::Unreachable(error) => {
            tracing::warn!(server = %server.name, error, "a backend cannot be reached");
            ProxyError::BackendDown
        }
    })?;
    answer(gateway, &permit, &context, &uri, response)
}

/// Returns the request for the backend.
fn prepare(
    gateway: &GatewayState,
    permit: &Permit,
    request: Request,
    transport: Transport,
) -> Result<Outgoing, ProxyError> {
    let (callers, body) = request.into_parts();
    let server = permit.server();
    let query = callers.uri.query();
    let uri = match transport {
        Transport::Streamable => with_query(&server.url, query),
        Transport::Sse => with_query(server.sse_url.as_ref().unwrap_or(&server.url), query),
        Transport::Message => {
            told_endpoint(gateway, permit, query).ok_or(ProxyError::UnknownSession)?
        }
    };
    let ours = BackendCredential::of(permit).into_headers();
    let mut headers = match transport {
        Transport::Sse => headers::to_backend_readable(&callers.headers, ours),
        Transport::Streamable | Transport::Message => headers::to_backend(&callers.headers, ours),
    };
    mcp_session::open(&gateway.keys, permit, &callers.headers, &mut headers)
        .map_err(|_| ProxyError::UnknownSession)?;
    Ok(Outgoing {
        method: callers.method,
        uri,
        headers,
        body,
    })
}

/// The part of a request that determines how its response is forwarded.
struct ResponseContext {
    transport: Transport,
    path: String,
    /// How long its body may take.
    left: Duration,
}

/// Returns how long a response may take: a stream until its access token expires, another response for
/// at least [`LAST_WORD`] seconds.
fn time_left(permit: &Permit, is_stream: bool, now: Seconds) -> Duration {
    let left = permit.until().saturating_sub(now);
    Duration::from_secs(match is_stream {
        true => left,
        false => left.max(LAST_WORD),
    })
}

/// Creates the caller's response from the response of the backend at `uri`.
fn answer(
    gateway: &Arc<GatewayState>,
    permit: &Permit,
    context: &ResponseContext,
    uri: &Uri,
    response: http::Response<Incoming>,
) -> Result<Response, ProxyError> {
    let (backends, body) = response.into_parts();
    if !headers::may_pass(backends.status) {
        let (server, status) = (&permit.server().name, backends.status);
        tracing::warn!(%server, %status, "a backend's response cannot be forwarded");
        return Err(ProxyError::BackendRefused);
    }
    let rewritten =
        context.transport == Transport::Sse && headers::is_event_stream(&backends.headers);
    if rewritten && backends.headers.contains_key(CONTENT_ENCODING) {
        let server = &permit.server().name;
        tracing::warn!(%server, "a backend compresses a stream that has to be read");
        return Err(ProxyError::BackendRefused);
    }
    let announcements = rewritten.then(|| {
        let told = context.path.strip_suffix("/sse").unwrap_or(&context.path);
        EndpointEventRewriter::new(Arc::clone(gateway), permit, uri, format!("{told}/message"))
    });
    let server = permit.server();
    let mut headers = headers::to_caller(&backends.headers, &server.injected, &server.secrets);
    if rewritten {
        headers.remove(CONTENT_LENGTH);
    }
    mcp_session::seal(&gateway.keys, permit, &backends.headers, &mut headers);
    // No comment can be inserted into a compressed body, or one with a length.
    let is_open = headers::is_event_stream(&headers)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_LENGTH);
    let options = RelayOptions {
        left: context.left,
        announcements,
        keep_alive: gateway.keep_alive.filter(|_| is_open).map(KeepAlive::new),
    };
    let body = Relayed::new(body, permit.session(), options);
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = backends.status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Returns a backend's URL with the caller's query. If the URL has a query, which may contain a key,
/// the caller's is dropped.
fn with_query(url: &Uri, query: Option<&str>) -> Uri {
    let Some(query) = query.filter(|_| url.query().is_none()) else {
        return url.clone();
    };
    let mut parts = url.clone().into_parts();
    parts.path_and_query = format!("{}?{query}", url.path()).parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| url.clone())
}

/// Returns the backend's endpoint from the caller's query.
fn told_endpoint(gateway: &GatewayState, permit: &Permit, query: Option<&str>) -> Option<Uri> {
    let told = query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("sessionId="))?;
    message_endpoint::open(&gateway.keys, permit, told)
}

fn is_announced_too_large(headers: &HeaderMap) -> bool {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    length.is_some_and(|length| {
        length
            .parse::<usize>()
            .is_ok_and(|length| length > MAX_REQUEST_BODY)
    })
}

/// Checks the origin of a web page. It must be listed, or the gateway's own.
fn check_origin(gateway: &GatewayState, headers: &HeaderMap) -> Result<(), ProxyError> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let allowed = match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => is_allowed(gateway, origin),
        (Some(_), Some(_)) => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(ProxyError::ForeignOrigin)
    }
}

fn is_allowed(gateway: &GatewayState, origin: &HeaderValue) -> bool {
    let listed = |allowed: &String| origin.as_bytes() == allowed.as_bytes();
    listed(&gateway.issuer) || gateway.allowed_origins.iter().any(listed)
}

fn with_cors(
    gateway: &GatewayState,
    origin: Option<HeaderValue>,
    mut response: Response,
) -> Response {
    if let Some(origin) = origin.filter(|origin| is_allowed(gateway, origin)) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let exposed = HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}
