//! How a host's messages travel: over each of the bridge's faces.
//!
//! Owns: the transports, as hosts have them, and on which stream a message came. Does not own:
//! what the messages say.

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

/// A host's end of a transport. Its streams are closed with it.
pub(crate) struct Wire {
    way: Way,
    client: Client,
    to: UnboundedSender<Heard>,
    heard: UnboundedReceiver<Heard>,
    /// What reads, by the request whose stream it is.
    reading: HashMap<Option<u64>, AbortHandle>,
    /// The process of the shim, if there is one. It ends with this value, and not a moment later:
    /// it would start a bridge in place of one that ends with the case.
    shim: Option<u32>,
}

/// What comes from the other end.
pub(crate) enum Heard {
    Message {
        message: Value,
        on: On,
    },
    /// The stream of this request has ended.
    Ended(u64),
}

/// The stream that a message came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Request(u64),
    /// The one for what belongs to no request, or for everything.
    Session,
}

enum Way {
    /// HTTP+SSE: everything comes on one stream.
    Sse { messages: String },
    /// Streamable HTTP with a session.
    Streamable { url: String, headers: HeaderMap },
    /// Streamable HTTP without one: each request stands alone.
    Alone { url: String },
    /// The shim's standard streams.
    Stdio(UnboundedSender<Value>),
}

impl Wire {
    fn new(way: Way) -> Self {
        let (to, heard) = mpsc::unbounded_channel();
        Self {
            way,
            client: client(),
            to,
            heard,
            reading: HashMap::new(),
            shim: None,
        }
    }

    /// Opens the stream of HTTP+SSE, whose first event says where to post.
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
        let mut wire = Self::new(Way::Sse { messages });
        wire.read(None, follow(events, On::Session, wire.to.clone()));
        wire
    }

    /// Streamable HTTP; the session begins with `initialize`.
    pub(crate) fn streamable(url: String) -> Self {
        let headers = HeaderMap::new();
        Self::new(Way::Streamable { url, headers })
    }

    /// Streamable HTTP of the modern era.
    pub(crate) fn alone(url: String) -> Self {
        Self::new(Way::Alone { url })
    }

    /// A shim that is spawned as hosts do.
    pub(crate) fn stdio(bridge: &Bridge, server: &str) -> Self {
        let mut shim = Shim::spawn(bridge, server);
        let (lines, mut said) = mpsc::unbounded_channel::<Value>();
        let mut wire = Self::new(Way::Stdio(lines));
        wire.shim = Some(shim.process());
        let to = wire.to.clone();
        wire.read(None, async move {
            loop {
                tokio::select! {
                    line = said.recv() => match line {
                        Some(line) => shim.send(&line).await,
                        None => return,
                    },
                    message = shim.next() => tell(&to, message, On::Session),
                }
            }
        });
        wire
    }

    /// Whether each request has a stream of its own.
    pub(crate) fn has_streams(&self) -> bool {
        matches!(self.way, Way::Streamable { .. } | Way::Alone { .. })
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Heard {
        self.heard.recv().await.expect("this end is open")
    }

    /// Sends a message. What is not answered has been accepted when this returns.
    pub(crate) async fn send(&mut self, message: Value) {
        let id = message["id"].as_u64().filter(|_| is_request(&message));
        match (&self.way, id) {
            (Way::Stdio(lines), _) => lines.send(message).expect("the shim runs"),
            (Way::Sse { messages }, _) => {
                let response = self.client.post(messages).json(&message).send();
                accepted(&within(messages, response).await.expect("an answer"));
            }
            (Way::Streamable { .. }, Some(id)) if message["method"] == "initialize" => {
                let response = within("a session", self.post(&message).send()).await;
                let response = response.expect("an answer");
                let session = response.headers().get("mcp-session-id").cloned();
                self.keep("mcp-session-id", session.expect("a session"));
                self.read(Some(id), answer(response, id, self.to.clone()));
            }
            (Way::Streamable { .. } | Way::Alone { .. }, Some(id)) => {
                let (request, to) = (self.post(&message), self.to.clone());
                self.read(Some(id), async move {
                    let response = request.send().await.expect("an answer");
                    answer(response, id, to).await;
                });
            }
            (Way::Streamable { .. } | Way::Alone { .. }, None) => {
                let response = within("an answer", self.post(&message).send()).await;
                accepted(&response.expect("an answer"));
            }
        }
    }

    /// No longer wants the answer to a request, as this transport says it.
    pub(crate) async fn cancel(&mut self, id: u64) {
        if let Way::Alone { .. } = self.way {
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

    /// The handshake has agreed on a version.
    pub(crate) fn agreed(&mut self, version: &str) {
        let version = version.parse().expect("a version");
        self.keep("mcp-protocol-version", version);
    }

    /// Opens the stream for what belongs to no request, where there is one.
    pub(crate) async fn listen(&mut self) {
        let Way::Streamable { url, headers } = &self.way else {
            return;
        };
        let request = self.client.get(url).headers(headers.clone());
        let request = request.header("accept", "text/event-stream").send();
        let response = within(url, request).await.expect("a stream");
        assert_eq!(response.status(), 200, "{url}");
        let events = follow(Events::of(response), On::Session, self.to.clone());
        self.read(None, events);
    }

    fn post(&self, message: &Value) -> reqwest::RequestBuilder {
        let (url, headers) = match &self.way {
            Way::Streamable { url, headers } => (url, headers.clone()),
            Way::Alone { url } => (url, mirrored(message)),
            Way::Sse { .. } | Way::Stdio(_) => unreachable!("these have ways of their own"),
        };
        self.client
            .post(url)
            .headers(headers)
            .header("accept", "application/json, text/event-stream")
            .json(message)
    }

    fn keep(&mut self, name: &'static str, value: HeaderValue) {
        if let Way::Streamable { headers, .. } = &mut self.way {
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

/// The headers in which a request of the modern era says again what it says.
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

/// Reads what a request is answered with.
async fn answer(response: Response, id: u64, to: UnboundedSender<Heard>) {
    let content_type = response.headers().get("content-type");
    let streams = content_type.is_some_and(|value| value == "text/event-stream");
    if streams {
        follow(Events::of(response), On::Request(id), to.clone()).await;
    } else {
        let message = response.json().await.expect("JSON");
        tell(&to, message, On::Request(id));
    }
    // The host may be gone.
    let _ = to.send(Heard::Ended(id));
}

async fn follow(mut events: Events, on: On, to: UnboundedSender<Heard>) {
    while let Some((_, data)) = events.more().await {
        tell(&to, serde_json::from_str(&data).expect("JSON"), on);
    }
}

fn tell(to: &UnboundedSender<Heard>, message: Value, on: On) {
    assert_eq!(message["jsonrpc"], "2.0", "{message}");
    // The host may be gone.
    let _ = to.send(Heard::Message { message, on });
}
