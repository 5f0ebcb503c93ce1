//! Two servers of one era each, with the same tools: `ask` needs a name, `slow` tells of its
//! progress and never ends, `change` changes the list of tools.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Observes a server and its messages.
#[derive(Clone, Default)]
pub(crate) struct Record {
    inner: Arc<Mutex<Inner>>,
    /// How many calls were cancelled.
    cancelled: watch::Sender<u32>,
    /// How many streams of notifications are open.
    listeners: watch::Sender<usize>,
    /// The client's last response to a request of the server.
    answer: watch::Sender<Option<Value>>,
}

#[derive(Default)]
struct Inner {
    messages: Vec<Value>,
    sessions: u32,
    listening: Vec<(Value, mpsc::UnboundedSender<Value>)>,
}

impl Record {
    /// How many messages with this method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        let inner = self.inner.lock().unwrap();
        let of_method = |message: &&Value| message["method"] == method;
        inner.messages.iter().filter(of_method).count()
    }

    /// Waits until so many calls were cancelled.
    pub(crate) async fn cancelled(&self, wanted: u32) {
        reached(&self.cancelled, |cancelled| *cancelled == wanted).await;
    }

    /// Waits until a client listens.
    pub(crate) async fn listened(&self) {
        reached(&self.listeners, |listeners| *listeners > 0).await;
    }

    fn listen(&self, tag: Value) -> mpsc::UnboundedReceiver<Value> {
        let (sender, events) = mpsc::unbounded_channel();
        self.inner.lock().unwrap().listening.push((tag, sender));
        events
    }

    fn change(&self) {
        for (tag, listening) in &self.inner.lock().unwrap().listening {
            let method = "notifications/tools/list_changed";
            // A client that has disconnected is skipped.
            let _ = listening.send(json!({ "jsonrpc": "2.0", "method": method, "params": tag }));
        }
    }
}

async fn reached<T>(state: &watch::Sender<T>, wanted: impl FnMut(&T) -> bool) {
    let mut state = state.subscribe();
    let there = state.wait_for(wanted);
    tokio::time::timeout(crate::bridge::TIMEOUT, there)
        .await
        .expect("the server sees it")
        .unwrap();
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) record: Record,
    _stop: DropGuard,
}

impl Server {
    /// A server without a handshake.
    pub(crate) async fn modern() -> Self {
        Self::start(post(modern)).await
    }

    /// A server with a handshake.
    pub(crate) async fn legacy() -> Self {
        let routes = post(legacy).get(notifications);
        Self::start(routes.delete(async || StatusCode::NO_CONTENT)).await
    }

    /// The same on a listener, so that a test can have the address before the server.
    pub(crate) fn legacy_on(listener: TcpListener) -> Self {
        Self::start_on(listener, post(legacy).get(notifications))
    }

    async fn start(routes: axum::routing::MethodRouter<Record>) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), routes)
    }

    fn start_on(listener: TcpListener, routes: axum::routing::MethodRouter<Record>) -> Self {
        let (record, stop) = (Record::default(), CancellationToken::new());
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let app = Router::new().route("/mcp", routes);
        let app = app.with_state(record.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.unwrap(),
                () = stopped.cancelled() => {}
            }
        });
        let _stop = stop.drop_guard();
        Self { url, record, _stop }
    }
}

fn read(record: &Record, body: &Bytes) -> Value {
    let message: Value = serde_json::from_slice(body).unwrap();
    record.inner.lock().unwrap().messages.push(message.clone());
    message
}

fn refuse(status: StatusCode, id: &Value, code: i64) -> Response {
    let error = json!({ "code": code, "message": "Server not initialized" });
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    (status, axum::Json(body)).into_response()
}

fn result(id: &Value, result: &Value) -> Response {
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": result })).into_response()
}

fn events(events: mpsc::UnboundedReceiver<Value>, guard: impl Send + 'static) -> Response {
    let frames = stream::unfold((events, guard), async |(mut events, guard)| {
        let event = events.recv().await?;
        Some((
            Ok::<_, Infallible>(format!("data: {event}\n\n")),
            (events, guard),
        ))
    });
    let body = Body::from_stream(frames);
    ([("content-type", "text/event-stream")], body).into_response()
}

fn tools() -> Value {
    json!([{ "name": "ask", "inputSchema": { "type": "object" }, "x-odd": 1.5 }])
}

fn question() -> Value {
    json!({ "message": "name?", "requestedSchema": { "type": "object" } })
}

fn greeting(answer: &Value) -> Value {
    let name = answer["content"]["name"].as_str().unwrap_or("nobody");
    json!([{ "type": "text", "text": format!("Hello, {name}!") }])
}

fn progress(params: &Value) -> Value {
    let token = &params["_meta"]["progressToken"];
    let params = json!({ "progressToken": token, "progress": 1 });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

/// Counts on drop, when its stream is closed.
struct Closed(watch::Sender<u32>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.send_modify(|closed| *closed += 1);
    }
}

async fn modern(State(record): State<Record>, headers: HeaderMap, body: Bytes) -> Response {
    let message = read(&record, &body);
    let (id, params) = (&message["id"], &message["params"]);
    let version = &params["_meta"]["io.modelcontextprotocol/protocolVersion"];
    let method = message["method"].as_str().unwrap_or_default();
    if version != "2026-07-28"
        || headers
            .get("mcp-method")
            .is_none_or(|named| named != method)
    {
        return refuse(StatusCode::BAD_REQUEST, &Value::Null, -32020);
    }
    let complete = |mut fields: Value| {
        fields["resultType"] = json!("complete");
        result(id, &fields)
    };
    match (method, params["name"].as_str()) {
        ("server/discover", _) => complete(json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": { "listChanged": true } },
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "real", "version": "9" } },
            "ttlMs": 0,
            "cacheScope": "private",
        })),
        ("tools/list", _) => {
            complete(json!({ "tools": tools(), "ttlMs": 0, "cacheScope": "private" }))
        }
        ("tools/call", Some("ask")) if params["requestState"] == "st\u{e4}te" => {
            complete(json!({ "content": greeting(&params["inputResponses"]["who"]) }))
        }
        ("tools/call", Some("ask")) => result(
            id,
            &json!({
                "resultType": "input_required",
                "inputRequests": { "who": { "method": "elicitation/create", "params": question() } },
                "requestState": "st\u{e4}te",
            }),
        ),
        ("tools/call", Some("slow")) => {
            let (sender, said) = mpsc::unbounded_channel();
            sender.send(progress(params)).unwrap();
            events(said, (sender, Closed(record.cancelled.clone())))
        }
        ("tools/call", Some("change")) => {
            record.change();
            complete(json!({ "content": [] }))
        }
        ("subscriptions/listen", _) => {
            let tag = json!({ "_meta": { SUBSCRIPTION: id } });
            let mut granted = tag.clone();
            granted["notifications"] = params["notifications"].clone();
            let said = record.listen(tag);
            let method = "notifications/subscriptions/acknowledged";
            let first = json!({ "jsonrpc": "2.0", "method": method, "params": granted });
            if let Some((_, listening)) = record.inner.lock().unwrap().listening.last() {
                listening.send(first).unwrap();
            }
            record.listeners.send_modify(|listeners| *listeners += 1);
            events(said, ())
        }
        _ => refuse(StatusCode::NOT_FOUND, id, -32601),
    }
}

async fn notifications(State(record): State<Record>) -> Response {
    let said = record.listen(json!({}));
    record.listeners.send_modify(|listeners| *listeners += 1);
    events(said, ())
}

async fn legacy(State(record): State<Record>, headers: HeaderMap, body: Bytes) -> Response {
    let message = read(&record, &body);
    let (id, params) = (message["id"].clone(), &message["params"]);
    let method = message["method"].as_str();
    if method == Some("initialize") {
        record.inner.lock().unwrap().sessions += 1;
        let answer = result(
            &id,
            &json!({
                "protocolVersion": "2025-06-18",
                "capabilities": { "tools": { "listChanged": true } },
                "serverInfo": { "name": "real", "version": "9" },
            }),
        );
        return ([("mcp-session-id", "s")], answer).into_response();
    }
    if !headers.contains_key("mcp-session-id") {
        return refuse(StatusCode::BAD_REQUEST, &Value::Null, -32000);
    }
    match (method, params["name"].as_str()) {
        (None, _) => {
            record.answer.send_replace(Some(message["result"].clone()));
            StatusCode::ACCEPTED.into_response()
        }
        (Some("notifications/cancelled"), _) => {
            record.cancelled.send_modify(|cancelled| *cancelled += 1);
            StatusCode::ACCEPTED.into_response()
        }
        (Some("tools/list"), _) => result(&id, &json!({ "tools": tools() })),
        (Some("tools/call"), Some("ask")) => {
            let (sender, said) = mpsc::unbounded_channel();
            let method = "elicitation/create";
            let asked =
                json!({ "jsonrpc": "2.0", "id": 77, "method": method, "params": question() });
            sender.send(asked).unwrap();
            tokio::spawn(async move {
                let mut answer = record.answer.subscribe();
                let answer = answer.wait_for(Option::is_some).await.unwrap().clone();
                let content = greeting(&answer.unwrap_or_default());
                let result = json!({ "content": content });
                // The client may have disconnected.
                let _ = sender.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
            });
            events(said, ())
        }
        (Some("tools/call"), Some("slow")) => {
            let (sender, said) = mpsc::unbounded_channel();
            sender.send(progress(params)).unwrap();
            events(said, sender)
        }
        (Some("tools/call"), Some("change")) => {
            record.change();
            result(&id, &json!({ "content": [] }))
        }
        (Some(method), _) if method.starts_with("notifications/") => {
            StatusCode::ACCEPTED.into_response()
        }
        _ => refuse(StatusCode::OK, &id, -32601),
    }
}
