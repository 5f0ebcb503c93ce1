//! An MCP server of 2025-03-26 that sends the events a case provides.
//!
//! Owns: HTTP+SSE at `/sse`, Streamable HTTP at `/mcp`, and the handshake on both.
//! Does not own: the responses to other messages. The case provides them as the data of events.

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

/// Returns the data of each event that answers a message.
pub(crate) type Responder = fn(&Value) -> Vec<String>;

/// The server. It stops when it is dropped.
pub(crate) struct EventServer {
    address: SocketAddr,
    serving: AbortHandle,
}

#[derive(Clone)]
struct Shared {
    respond: Responder,
    streams: Arc<Mutex<HashMap<u64, UnboundedSender<String>>>>,
    next: Arc<AtomicU64>,
}

impl EventServer {
    pub(crate) async fn start(respond: Responder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared {
            respond,
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

    /// Returns a section of a `config.toml` for the server's HTTP+SSE.
    pub(crate) fn sse_config(&self, name: &str) -> String {
        let url = format!("http://{}/sse", self.address);
        format!("[servers.{name}]\nurl = \"{url}\"\ntransport = \"sse\"\n")
    }

    /// Returns the same for its Streamable HTTP.
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

/// Returns the response to a request as the data of an event.
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
    let events = match handshake(&message) {
        Some(answer) => vec![answer],
        None => (shared.respond)(&message),
    };
    let streams = shared.streams.lock().expect("a lock");
    for data in events {
        // The host may have disconnected.
        let _ = streams[&address["session"]].send(data);
    }
    StatusCode::ACCEPTED
}

/// Answers each request with a stream that stays open.
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
    let events: Vec<_> = (shared.respond)(&message)
        .iter()
        .map(|one| event(one))
        .collect();
    streaming(stream::iter(events).chain(stream::pending()))
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
