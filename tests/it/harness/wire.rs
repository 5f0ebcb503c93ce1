//! A host that speaks MCP over HTTP: Streamable HTTP, and HTTP+SSE of 2024.

use std::collections::VecDeque;

use memchr::memmem;
use reqwest::{Client, Response, header::HeaderMap};
use serde_json::{Value, json};

use super::within;

/// Returns the text of a tool's result, or the whole message as the error.
pub(crate) fn tool_text(message: Value) -> Result<String, Value> {
    let Some(parts) = message["result"]["content"].as_array() else {
        return Err(message);
    };
    if message["result"]["isError"] == true {
        return Err(message);
    }
    Ok(parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect())
}

/// Returns an HTTP client that does not follow redirects.
#[expect(
    clippy::disallowed_methods,
    reason = "a third-party client: it must not be built as ours are"
)]
pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client")
}

/// A host on Streamable HTTP.
pub(crate) struct Streamable {
    client: Client,
    url: String,
    headers: HeaderMap,
    last_id: u64,
}

impl Streamable {
    /// Performs the handshake with the server at `url`. Every request carries `headers`.
    pub(crate) async fn connect(url: &str, headers: HeaderMap) -> Self {
        let mut host = Self {
            client: client(),
            url: url.to_owned(),
            headers,
            last_id: 0,
        };
        let response = host.post(&handshake(0)).await;
        assert_eq!(response.status(), 200, "{url}");
        let session = response.headers().get("mcp-session-id").cloned();
        let answer = message_of(response, 0).await;
        let version = answer["result"]["protocolVersion"]
            .as_str()
            .unwrap_or_else(|| panic!("no handshake: {answer}"));
        let version = version.parse().expect("a version");
        host.headers.insert("mcp-protocol-version", version);
        if let Some(session) = session {
            host.headers.insert("mcp-session-id", session);
        }
        let done = host
            .post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        assert_eq!(done.status(), 202, "{url}");
        host
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<String, Value> {
        self.last_id += 1;
        let id = self.last_id;
        let response = self.post(&call(id, tool, &arguments)).await;
        tool_text(message_of(response, id).await)
    }

    /// Ends the session with DELETE.
    pub(crate) async fn end(self) {
        let request = self.client.delete(&self.url).headers(self.headers);
        let response = within(&self.url, request.send()).await.expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
    }

    async fn post(&self, message: &Value) -> Response {
        let request = self
            .client
            .post(&self.url)
            .headers(self.headers.clone())
            .header("accept", "application/json, text/event-stream")
            .json(message);
        within(&self.url, request.send()).await.expect("an answer")
    }
}

/// A host on HTTP+SSE.
pub(crate) struct Sse {
    client: Client,
    headers: HeaderMap,
    /// The endpoint for messages, as the server announced it.
    messages: String,
    events: Events,
    last_id: u64,
}

impl Sse {
    /// Opens the stream at `url` and performs the handshake. Every request carries `headers`.
    pub(crate) async fn connect(url: &str, headers: HeaderMap) -> Self {
        let client = client();
        let request = client
            .get(url)
            .headers(headers.clone())
            .header("accept", "text/event-stream");
        let response = within(url, request.send()).await.expect("a stream");
        assert_eq!(response.status(), 200, "{url}");
        let mut events = Events::of(response);
        let (event, place) = events.next().await;
        assert_eq!(event, "endpoint");
        let base = url::Url::parse(url).expect("a URL");
        let messages = base.join(&place).expect("a place for messages").into();
        let mut host = Self {
            client,
            headers,
            messages,
            events,
            last_id: 0,
        };
        host.post(&handshake(0)).await;
        let answer = host.response(0).await;
        assert!(answer["result"]["serverInfo"].is_object(), "{answer}");
        host.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        host
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<String, Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.post(&call(id, tool, &arguments)).await;
        tool_text(self.response(id).await)
    }

    async fn post(&self, message: &Value) {
        let request = self
            .client
            .post(&self.messages)
            .headers(self.headers.clone())
            .json(message);
        let response = within(&self.messages, request.send())
            .await
            .expect("an answer");
        assert_eq!(response.status(), 202, "{}", self.messages);
    }

    async fn response(&mut self, id: u64) -> Value {
        loop {
            let (_, data) = self.events.next().await;
            let message: Value = serde_json::from_str(&data).expect("JSON");
            if message["id"] == id {
                return message;
            }
        }
    }
}

fn handshake(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "a test's host", "version": "1.0.0" },
        },
    })
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": { "name": tool, "arguments": arguments },
    })
}

/// Returns the message with this id from a response, which is JSON or an event stream.
async fn message_of(response: Response, id: u64) -> Value {
    let status = response.status();
    let content_type = response.headers().get("content-type");
    let streams =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if !streams {
        let text = response.text().await.expect("a body");
        return serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{status} {error}: {text}"));
    }
    let mut events = Events::of(response);
    loop {
        let (_, data) = events.next().await;
        let message: Value = serde_json::from_str(&data).unwrap_or_default();
        if message["id"] == id {
            return message;
        }
    }
}

/// Server-sent events of a response.
pub(crate) struct Events {
    response: Response,
    frames: Frames,
    ready: VecDeque<(String, String)>,
}

impl Events {
    pub(crate) fn of(response: Response) -> Self {
        Self {
            response,
            frames: Frames::default(),
            ready: VecDeque::new(),
        }
    }

    /// Returns the next event: its name and its data.
    async fn next(&mut self) -> (String, String) {
        within("an event", self.more())
            .await
            .expect("the stream goes on")
    }

    /// Returns the next event without a timeout, or `None` at the end of the stream.
    pub(crate) async fn more(&mut self) -> Option<(String, String)> {
        while self.ready.is_empty() {
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.ready.extend(self.frames.push(&chunk));
        }
        self.ready.pop_front()
    }
}

/// A parser for event streams in chunks of any size.
#[derive(Default)]
pub(crate) struct Frames {
    rest: Vec<u8>,
    /// How many bytes of `rest` are known to contain no end of an event.
    searched: usize,
}

impl Frames {
    /// Adds a chunk. Returns the names and data of the events that it completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<(String, String)> {
        for part in chunk.split(|byte| *byte == b'\r') {
            self.rest.extend_from_slice(part);
        }
        let mut events = Vec::new();
        while let Some(end) = memmem::find(&self.rest[self.searched..], b"\n\n") {
            let rest = self.rest.split_off(self.searched + end + 2);
            let block = std::mem::replace(&mut self.rest, rest);
            self.searched = 0;
            events.extend(parse(std::str::from_utf8(&block).expect("text")));
        }
        self.searched = self.rest.len().saturating_sub(1);
        events
    }
}

fn parse(block: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        let values: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect();
        (!values.is_empty()).then(|| values.join("\n"))
    };
    let data = field("data")?;
    Some((field("event").unwrap_or_else(|| "message".to_owned()), data))
}
