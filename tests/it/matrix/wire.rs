//! The transports of a host: each of those that the bridge offers.
//!
//! Owns: sending and receiving messages, and on which stream each arrived.
//! Does not own: the content of messages.

use std::collections::HashMap;

use reqwest::{
    Client, Response,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::AbortHandle,
};

use super::MODERN;
use crate::harness::{
    bridge::Bridge,
    program,
    shim::Shim,
    wire::{Events, client},
    within,
};

/// A host's end of a transport. Its streams close when it is dropped.
pub(crate) struct Wire {
    transport: Transport,
    client: Client,
    to: UnboundedSender<Incoming>,
    heard: UnboundedReceiver<Incoming>,
    /// The tasks that read streams, by request.
    reading: HashMap<Option<u64>, AbortHandle>,
    /// The process id of the shim, if there is one. It is killed when this is dropped: a shim that
    /// lived longer would start another bridge.
    shim: Option<u32>,
}

/// What arrived.
pub(crate) enum Incoming {
    Message {
        message: Value,
        on: StreamId,
    },
    /// The stream of this request has ended.
    Ended(u64),
}

/// The stream of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamId {
    Request(u64),
    /// The stream outside of requests, or the only stream.
    Session,
}

enum Transport {
    /// HTTP+SSE: one stream carries everything.
    Sse { messages: String },
    /// Streamable HTTP with a session.
    Streamable { url: String, headers: HeaderMap },
    /// Streamable HTTP without a session.
    Stateless { url: String },
    /// The shim's standard streams.
    Stdio(UnboundedSender<Value>),
}

impl Wire {
    fn new(transport: Transport) -> Self {
        let (to, heard) = mpsc::unbounded_channel();
        Self {
            transport,
            client: client(),
            to,
            heard,
            reading: HashMap::new(),
            shim: None,
        }
    }

    /// Opens the stream of HTTP+SSE, whose first event names the endpoint.
    pub(crate) async fn sse(url: &str) -> Self {
        let request = client().get(url).header("accept", "text/event-stream");
        let response = within(url, request.send()).await.expect("a stream");
        assert_eq!(response.status(), 200, "{url}");
        let mut events = Events::of(response);
        let first = within("the endpoint", events.more()).await;
        let (event, place) = first.expect("a first event");
        assert_eq!(event, "endpoint");
        let base = url::Url::parse(url).expect("a URL");
        let messages = base.join(&place).expect("a place for messages").into();
        let mut wire = Self::new(Transport::Sse { messages });
        wire.read(None, follow(events, StreamId::Session, wire.to.clone()));
        wire
    }

    /// Creates a transport over Streamable HTTP. `initialize` begins the session.
    pub(crate) fn streamable(url: String) -> Self {
        let headers = HeaderMap::new();
        Self::new(Transport::Streamable { url, headers })
    }

    /// Creates a transport over the modern era's Streamable HTTP.
    pub(crate) fn stateless(url: String) -> Self {
        Self::new(Transport::Stateless { url })
    }

    /// Spawns a shim as hosts do.
    pub(crate) fn stdio(bridge: &Bridge, server: &str) -> Self {
        let mut shim = Shim::spawn(bridge, server);
        let (lines, mut said) = mpsc::unbounded_channel::<Value>();
        let mut wire = Self::new(Transport::Stdio(lines));
        wire.shim = Some(shim.process());
        let to = wire.to.clone();
        wire.read(None, async move {
            loop {
                tokio::select! {
                    line = said.recv() => match line {
                        Some(line) => shim.send(&line).await,
                        None => return,
                    },
                    message = shim.next() => tell(&to, message, StreamId::Session),
                }
            }
        });
        wire
    }

    /// Returns true if each request has its own stream.
    pub(crate) fn has_streams(&self) -> bool {
        matches!(
            self.transport,
            Transport::Streamable { .. } | Transport::Stateless { .. }
        )
    }

    /// Returns what arrives next.
    pub(crate) async fn next(&mut self) -> Incoming {
        self.heard.recv().await.expect("this end is open")
    }

    /// Sends a message. A notification or response is accepted when this returns.
    pub(crate) async fn send(&mut self, message: Value) {
        let id = message["id"].as_u64().filter(|_| is_request(&message));
        match (&self.transport, id) {
            (Transport::Stdio(lines), _) => lines.send(message).expect("the shim runs"),
            (Transport::Sse { messages }, _) => {
                let response = self.client.post(messages).json(&message).send();
                accepted(&within(messages, response).await.expect("an answer"));
            }
            (Transport::Streamable { .. }, Some(id)) if message["method"] == "initialize" => {
                let response = within("a session", self.post(&message).send()).await;
                let response = response.expect("an answer");
                let session = response.headers().get("mcp-session-id").cloned();
                self.keep("mcp-session-id", session.expect("a session"));
                self.read(Some(id), answer(response, id, self.to.clone()));
            }
            (Transport::Streamable { .. } | Transport::Stateless { .. }, Some(id)) => {
                let (request, to) = (self.post(&message), self.to.clone());
                self.read(Some(id), async move {
                    let response = request.send().await.expect("an answer");
                    answer(response, id, to).await;
                });
            }
            (Transport::Streamable { .. } | Transport::Stateless { .. }, None) => {
                let response = within("an answer", self.post(&message).send()).await;
                accepted(&response.expect("an answer"));
            }
        }
    }

    /// Cancels a request as this transport specifies.
    pub(crate) async fn cancel(&mut self, id: u64) {
        if let Transport::Stateless { .. } = self.transport {
            let reading = self.reading.remove(&Some(id)).expect("a request");
            return reading.abort();
        }
        self.send(json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": { "requestId": id },
        }))
        .await;
    }

    /// Stores the negotiated version.
    pub(crate) fn agreed(&mut self, version: &str) {
        let version = version.parse().expect("a version");
        self.keep("mcp-protocol-version", version);
    }

    /// Opens the stream outside of requests, if the transport has one.
    pub(crate) async fn listen(&mut self) {
        let Transport::Streamable { url, headers } = &self.transport else {
            return;
        };
        let request = self.client.get(url).headers(headers.clone());
        let request = request.header("accept", "text/event-stream").send();
        let response = within(url, request).await.expect("a stream");
        assert_eq!(response.status(), 200, "{url}");
        let events = follow(Events::of(response), StreamId::Session, self.to.clone());
        self.read(None, events);
    }

    fn post(&self, message: &Value) -> reqwest::RequestBuilder {
        let (url, headers) = match &self.transport {
            Transport::Streamable { url, headers } => (url, headers.clone()),
            Transport::Stateless { url } => (url, mirrored(message)),
            Transport::Sse { .. } | Transport::Stdio(_) => {
                unreachable!("these are not requested like this")
            }
        };
        self.client
            .post(url)
            .headers(headers)
            .header("accept", "application/json, text/event-stream")
            .json(message)
    }

    fn keep(&mut self, name: &'static str, value: HeaderValue) {
        if let Transport::Streamable { headers, .. } = &mut self.transport {
            headers.insert(name, value);
        }
    }

    fn read(&mut self, of: Option<u64>, reading: impl Future<Output = ()> + Send + 'static) {
        let reading = tokio::spawn(reading).abort_handle();
        self.reading.insert(of, reading);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(shim) = self.shim {
            program::kill(shim);
        }
        for reading in self.reading.values() {
            reading.abort();
        }
    }
}

fn is_request(message: &Value) -> bool {
    message["method"].is_string()
}

/// Returns the mirrored headers of a modern request.
fn mirrored(message: &Value) -> HeaderMap {
    let (method, params) = (&message["method"], &message["params"]);
    let name = match method.as_str() {
        Some("resources/read") => &params["uri"],
        _ => &params["name"],
    };
    let region = match name.as_str() {
        Some("test_x_mcp_header") => &params["arguments"]["region"],
        _ => &Value::Null,
    };
    let version = json!(MODERN);
    let headers = [
        ("mcp-protocol-version", &version),
        ("mcp-method", method),
        ("mcp-name", name),
        ("mcp-param-region", region),
    ];
    headers
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.parse().expect("a name");
            Some((name, value.as_str()?.parse().expect("ASCII")))
        })
        .collect()
}

fn accepted(response: &Response) {
    assert_eq!(response.status(), 202, "{}", response.url());
}

/// Reads the response to a request.
async fn answer(response: Response, id: u64, to: UnboundedSender<Incoming>) {
    let content_type = response.headers().get("content-type");
    let streams = content_type.is_some_and(|value| value == "text/event-stream");
    if streams {
        follow(Events::of(response), StreamId::Request(id), to.clone()).await;
    } else {
        let message = response.json().await.expect("JSON");
        tell(&to, message, StreamId::Request(id));
    }
    // The host may be gone.
    let _ = to.send(Incoming::Ended(id));
}

async fn follow(mut events: Events, on: StreamId, to: UnboundedSender<Incoming>) {
    while let Some((_, data)) = events.more().await {
        tell(&to, serde_json::from_str(&data).expect("JSON"), on);
    }
}

fn tell(to: &UnboundedSender<Incoming>, message: Value, on: StreamId) {
    assert_eq!(message["jsonrpc"], "2.0", "{message}");
    // The host may be gone.
    let _ = to.send(Incoming::Message { message, on });
}
