//! An MCP server of 2025-03-26 that says what a case wants, in events of its own making.
//!
//! Owns: HTTP+SSE at `/sse`, Streamable HTTP at `/mcp`, and the handshake on both. Does not own: what
//! is answered to anything else; the case says that, as the data of events.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedSender},
    task::AbortHandle,
};

/// What the server says to a message: the data of each event.
pub(crate) type Says = fn(&Value) -> Vec<String>;

/// The server. It ends with this value.
pub(crate) struct EventServer {
    address: SocketAddr,
    serving: AbortHandle,
}

#[derive(Clone)]
struct Shared {
    says: Says,
    streams: Arc<Mutex<HashMap<u64, UnboundedSender<String>>>>,
    next: Arc<AtomicU64>,
}

impl EventServer {
    pub(crate) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared {
            says,
            streams: Arc::default(),
            next: Arc::default(),
        };
        let app = Router::new()
            .route("/sse", get(open))
            .route("/message", post(message))
            .route("/mcp", post(streamable))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(shared);
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            address,
            serving: serving.abort_handle(),
        }
    }

    /// The section of a `config.toml` for the server's HTTP+SSE, under this name.
    pub(crate) fn sse_config(&self, name: &str) -> String {
        let url = format!("http://{}/sse", self.address);
        format!("[servers.{name}]\nurl = \"{url}\"\ntransport = \"sse\"\n")
    }

    /// The same for its Streamable HTTP.
    pub(crate) fn http_config(&self, name: &str) -> String {
        let url = format!("http://{}/mcp", self.address);
        format!("[servers.{name}]\nurl = \"{url}\"\ntransport = \"http\"\n")
    }
}

impl Drop for EventServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The answer to a request, as the data of an event.
pub(crate) fn answer(request: &Value, text: &str) -> String {
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()
}

async fn open(State(shared): State<Shared>) -> Response {
    let id = shared.next.fetch_add(1, Ordering::Relaxed);
    let (to, from) = mpsc::unbounded_channel();
    shared.streams.lock().expect("a lock").insert(id, to);
    let endpoint = format!("event: endpoint\ndata: /message?session={id}\n\n");
    let rest = stream::unfold(from, async |mut from| {
        let data: String = from.recv().await?;
        Some((event(&data), from))
    });
    streaming(stream::iter([endpoint]).chain(rest))
}

async fn message(
    State(shared): State<Shared>,
    Query(address): Query<HashMap<String, u64>>,
    body: Bytes,
) -> StatusCode {
    let message: Value = serde_json::from_slice(&body).expect("JSON");
    let said = match handshake(&message) {
        Some(answer) => vec![answer],
        None => (shared.says)(&message),
    };
    let streams = shared.streams.lock().expect("a lock");
    for data in said {
        // A host that has gone hears nothing.
        let _ = streams[&address["session"]].send(data);
    }
    StatusCode::ACCEPTED
}

/// Each request is answered by a stream that stays open.
async fn streamable(State(shared): State<Shared>, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).expect("JSON");
    if let Some(answer) = handshake(&message) {
        let headers = [
            ("content-type", "application/json"),
            ("mcp-session-id", "one"),
        ];
        return (headers, answer).into_response();
    }
    if message.get("id").is_none() {
        return StatusCode::ACCEPTED.into_response();
    }
    let said: Vec<_> = (shared.says)(&message)
        .iter()
        .map(|one| event(one))
        .collect();
    streaming(stream::iter(said).chain(stream::pending()))
}

fn handshake(message: &Value) -> Option<String> {
    let result = json!({
        "protocolVersion": "2025-03-26",
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "events", "version": "1.0.0" },
    });
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    (message["method"] == "initialize").then(|| answer.to_string())
}

fn event(data: &str) -> String {
    format!("event: message\ndata: {data}\n\n")
}

fn streaming(events: impl futures_util::Stream<Item = String> + Send + 'static) -> Response {
    let body = Body::from_stream(events.map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
