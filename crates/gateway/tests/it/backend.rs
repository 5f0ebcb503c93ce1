//! An MCP server behind the gateway that tells what reaches it.

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

/// A request as it reached the backend.
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
    /// Told when `/silent` was asked.
    ignored: Arc<Notify>,
    /// Where the open stream takes its chunks from.
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

    /// Waits until `/silent` was asked.
    pub(crate) async fn ignored(&self) {
        self.ignored.notified().await;
    }

    /// The sender of the stream that was opened last.
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

/// Gives the body back as it came, a session id on the first request, and echoes the injected
/// key where it must not get through.
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

/// Never answers.
async fn silent(State(backend): State<Backend>) {
    backend.ignored.notify_one();
    std::future::pending().await
}

/// A stream whose text cannot be read on the way, as it says.
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
