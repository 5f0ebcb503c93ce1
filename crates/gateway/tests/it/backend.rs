//! An MCP server behind the gateway that records the requests that it gets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::sync::{Notify, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// A request that the backend received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A running backend.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Notified when `/silent` is requested.
    ignored: Arc<Notify>,
    /// The sender of chunks for the open stream.
    stream: Arc<Mutex<Option<mpsc::Sender<Bytes>>>>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            ignored: Arc::default(),
            stream: Arc::default(),
        };
        let router = Router::new()
            .route("/mcp", any(mcp))
            .route("/sse", get(stream))
            .route("/message", post(mcp))
            .route("/streamed", any(stream))
            .route(
                "/redirect",
                any(|| async { (StatusCode::FOUND, [("location", "/mcp")]) }),
            )
            .route(
                "/locked",
                any(|| async { (StatusCode::UNAUTHORIZED, [("www-authenticate", "Key")]) }),
            )
            .route("/silent", any(silent))
            .route("/compressed", get(compressed))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(backend.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        backend
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("the backend was asked")
    }

    /// Waits until `/silent` is requested.
    pub(crate) async fn ignored(&self) {
        self.ignored.notified().await;
    }

    /// Returns the sender of the latest stream.
    pub(crate) fn stream(&self) -> mpsc::Sender<Bytes> {
        self.stream
            .lock()
            .unwrap()
            .clone()
            .expect("a stream is open")
    }

    async fn note(&self, request: Request) -> Seen {
        let (parts, body) = request.into_parts();
        let seen = Seen {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        seen
    }
}

/// Returns the body unchanged, a session id for the first request, and the injected key in places
/// where it must not be forwarded.
async fn mcp(State(backend): State<Backend>, request: Request) -> Response {
    let seen = backend.note(request).await;
    if seen.method == Method::GET {
        return open(&backend);
    }
    let key = seen.headers.get("x-functions-key").cloned();
    let mut response = Body::from(seen.body).into_response();
    let headers = response.headers_mut();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("set-cookie", "backend=1".parse().unwrap());
    if let Some(key) = key {
        headers.insert("x-functions-key", key);
    }
    if !seen.headers.contains_key("mcp-session-id") {
        headers.insert("mcp-session-id", "backend-session-1".parse().unwrap());
    }
    response
}

/// Never responds.
async fn silent(State(backend): State<Backend>) {
    backend.ignored.notify_one();
    std::future::pending().await
}

/// Returns a stream that claims to be compressed, so that its text cannot be read.
async fn compressed() -> Response {
    let headers = [
        ("content-type", "text/event-stream"),
        ("content-encoding", "gzip"),
    ];
    (headers, "event: endpoint\ndata: https://evil.example/\n\n").into_response()
}

async fn stream(State(backend): State<Backend>, request: Request) -> Response {
    backend.note(request).await;
    open(&backend)
}

fn open(backend: &Backend) -> Response {
    let (sender, chunks) = mpsc::channel(16);
    *backend.stream.lock().unwrap() = Some(sender);
    let chunks = ReceiverStream::new(chunks).map(Ok::<_, std::convert::Infallible>);
    let headers = [("content-type", "text/event-stream")];
    (headers, Body::from_stream(chunks)).into_response()
}
