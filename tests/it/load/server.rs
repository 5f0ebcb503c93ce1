//! A server of the legacy era whose tools put load on the bridge.
//!
//! Owns: messages of any length that share one block of memory, so that the server itself costs
//! little.
//! Does not own: which host calls which tool.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::any,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinHandle,
};

/// A block of text. Longer texts repeat it.
const BLOCK: &[u8] = &[b'x'; 1 << 16];

/// The length of the list of tools of the server `rough`, in bytes.
pub(super) struct ListLength(pub(super) usize);

/// The server. It stops when it is dropped.
pub(super) struct LoadServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    /// How often each call of `echo` was received, by its key.
    calls: Mutex<HashMap<String, u32>>,
    sessions: AtomicU64,
    lists: AtomicU64,
    list_length: usize,
    /// The events for all streams of `loud` outside of requests.
    told: broadcast::Sender<Bytes>,
    /// How often pending calls of `hold` were released.
    released: watch::Sender<u64>,
}

impl LoadServer {
    /// Starts the server on a free port.
    pub(super) async fn start(ListLength(list_length): ListLength) -> Self {
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            sessions: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            list_length,
            told: broadcast::channel(1024).0,
            released: watch::Sender::new(0),
        });
        let app = Router::new()
            .route("/{name}/mcp", any(serve))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the server");
        });
        Self {
            address,
            shared,
            serving,
        }
    }

    /// Returns the address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a name: `rough` has a long list of tools, and `loud` sends events outside
    /// of requests.
    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}/mcp", self.address)
    }

    /// Returns a section of the bridge's `config.toml`.
    pub(super) fn config(&self, name: &str) -> String {
        format!("[servers.{name}]\nurl = \"{}\"\n", self.url(name))
    }

    /// Answers all pending calls of `hold`.
    pub(super) fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Returns the number of calls of `echo`. Panics if a call was received twice.
    pub(super) fn assert_no_duplicate_calls(&self) -> usize {
        let calls = self.shared.calls();
        let twice: Vec<_> = calls.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "sent again: {twice:?}");
        calls.len()
    }
}

impl Drop for LoadServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    method: Method,
    body: Bytes,
) -> Response {
    match method {
        Method::GET if name == "loud" => listen(&shared),
        Method::GET => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Method::DELETE => StatusCode::NO_CONTENT.into_response(),
        _ => post(&shared, &name, &body).await,
    }
}

/// Opens the stream outside of requests.
fn listen(shared: &Shared) -> Response {
    let told = shared.told.subscribe();
    let told = stream::unfold(told, async |mut told| {
        loop {
            match told.recv().await {
                Ok(event) => return Some((Ok::<_, Infallible>(event), told)),
                // A slow client misses events, as with any server that does not wait.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    events(Body::from_stream(told))
}

async fn post(shared: &Arc<Shared>, name: &str, body: &[u8]) -> Response {
    let message: Value = serde_json::from_slice(body).expect("JSON");
    let params = &message["params"];
    let Some(id) = message.get("id").filter(|_| message["method"].is_string()) else {
        return StatusCode::ACCEPTED.into_response();
    };
    match message["method"].as_str() {
        Some("initialize") => initialize(shared, id, params),
        Some("tools/list") => list(shared, name, id),
        Some("tools/call") => call(shared, id, params).await,
        _ => result(id, &json!({})),
    }
}

fn initialize(shared: &Shared, id: &Value, params: &Value) -> Response {
    let number = shared.sessions.fetch_add(1, Ordering::Relaxed);
    let session = HeaderValue::try_from(format!("session-{number}")).expect("a header");
    let mut response = result(
        id,
        &json!({
            "protocolVersion": params["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "load", "version": "1.0.0" },
        }),
    );
    response.headers_mut().insert("mcp-session-id", session);
    response
}

/// Returns the list of tools. The list of `rough` is long and different each time.
fn list(shared: &Shared, name: &str, id: &Value) -> Response {
    let number = shared.lists.fetch_add(1, Ordering::Relaxed);
    let length = if name == "rough" {
        shared.list_length
    } else {
        8
    };
    let number = if name == "rough" { number } else { 0 };
    let begin = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"echo{number}","inputSchema":{{"type":"object"}},"description":""#
    );
    json_body(long(begin, length, r#""}]}}"#))
}

async fn call(shared: &Arc<Shared>, id: &Value, params: &Value) -> Response {
    let arguments = &params["arguments"];
    let number = |name: &str| {
        let number = arguments[name].as_u64().unwrap_or_default();
        usize::try_from(number).expect("a number")
    };
    let done = json!({ "content": [{ "type": "text", "text": "done" }] });
    match params["name"].as_str() {
        Some("echo") => {
            let key = arguments["key"].as_str().expect("a key");
            *shared.calls().entry(key.to_owned()).or_default() += 1;
            result(id, &json!({ "content": [{ "type": "text", "text": key }] }))
        }
        Some("answer") => {
            let begin = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#
            );
            json_body(long(begin, number("bytes"), r#""}]}}"#))
        }
        Some("events") => {
            let begin = r#"data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":""#;
            let event = long(begin.to_owned(), number("bytes"), "\"}}\n\n");
            let all = stream::iter(vec![event; number("count")]).flatten();
            let last = event_of(&answer(id, &done));
            events(Body::from_stream(all.chain(stream::iter([Ok(last)]))))
        }
        Some("array") => {
            let remark = json!({ "jsonrpc": "2.0", "method": "notifications/said" });
            let array = Value::Array(vec![remark, answer(id, &done)]);
            events(Body::from(event_of(&array)))
        }
        Some("progress") => {
            let params = json!({ "progressToken": "unknown", "progress": 1 });
            let progress =
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
            let event = event_of(&progress);
            for _ in 0..number("count") {
                // There may be no open stream.
                let _ = shared.told.send(event.clone());
                tokio::task::yield_now().await;
            }
            result(id, &done)
        }
        Some("hold") => {
            let mut released = shared.released.subscribe();
            released.mark_unchanged();
            released.changed().await.expect("the server goes on");
            result(id, &done)
        }
        other => panic!("no such tool: {other:?}"),
    }
}

fn answer(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn result(id: &Value, result: &Value) -> Response {
    Json(answer(id, result)).into_response()
}

fn event_of(message: &Value) -> Bytes {
    Bytes::from(format!("data: {message}\n\n"))
}

type Chunks = stream::Iter<std::vec::IntoIter<Result<Bytes, Infallible>>>;

/// Returns `begin`, `length` bytes of text, and `end`.
fn long(begin: String, length: usize, end: &'static str) -> Chunks {
    let mut chunks = vec![Ok(Bytes::from(begin))];
    let blocks = length / BLOCK.len();
    chunks.extend(std::iter::repeat_n(Ok(Bytes::from_static(BLOCK)), blocks));
    chunks.push(Ok(Bytes::from_static(&BLOCK[..length % BLOCK.len()])));
    chunks.push(Ok(Bytes::from_static(end.as_bytes())));
    stream::iter(chunks)
}

fn json_body(chunks: Chunks) -> Response {
    typed("application/json", Body::from_stream(chunks))
}

fn events(body: Body) -> Response {
    typed("text/event-stream", body)
}

fn typed(content_type: &'static str, body: Body) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    (headers, body).into_response()
}
