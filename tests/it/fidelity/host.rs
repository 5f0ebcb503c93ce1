//! Hosts that send bytes unchanged and keep what they receive unchanged.

use reqwest::{Client, RequestBuilder, Response};
use tokio::sync::mpsc;

use super::message::{Era, HostRequest};
use crate::harness::{
    bridge::Bridge,
    shim::Shim,
    wire::{self, Frames},
    within,
};

/// The handshake of every host.
const INITIALIZE: &str = r#"{"params":{"clientInfo":{"version":"1","name":"odd","name2":1e400},"capabilities":{"experimental":{"a":1.0,"a":-0}},"protocolVersion":"2025-11-25"},"method":"initialize","jsonrpc":"2.0","id":0}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A host, by transport.
pub(super) enum Host {
    Stdio(Box<Shim>),
    Streamable(Http),
    Sse(Http),
}

/// A host over HTTP.
pub(super) struct Http {
    client: Client,
    url: String,
    era: Era,
    session: Option<String>,
    inbox: mpsc::UnboundedReceiver<Vec<u8>>,
    to_inbox: mpsc::UnboundedSender<Vec<u8>>,
}

impl Host {
    /// Creates a host behind a shim.
    pub(super) async fn stdio(bridge: &Bridge, server: &str, era: Era) -> (Self, Option<String>) {
        let mut host = Self::Stdio(Box::new(Shim::spawn(bridge, server)));
        let greeting = host.initialize(era).await;
        (host, greeting)
    }

    /// Creates a host over Streamable HTTP.
    pub(super) async fn streamable(url: &str, era: Era) -> (Self, Option<String>) {
        let mut host = Self::Streamable(Http::new(url, era));
        let greeting = host.initialize(era).await;
        (host, greeting)
    }

    /// Creates a host over HTTP+SSE.
    pub(super) async fn sse(url: &str) -> (Self, Option<String>) {
        let mut http = Http::new(url, Era::Legacy);
        http.open().await;
        let mut host = Self::Sse(http);
        let greeting = host.initialize(Era::Legacy).await;
        (host, greeting)
    }

    /// Performs the handshake and returns the response. Returns `None` in the modern era.
    async fn initialize(&mut self, era: Era) -> Option<String> {
        if era == Era::Modern {
            return None;
        }
        self.send(INITIALIZE).await;
        let greeting = self.next().await;
        if let Self::Streamable(http) = self {
            http.session = Some(http.session().await);
        }
        self.send(INITIALIZED).await;
        if let Self::Streamable(http) = self {
            http.listen().await;
        }
        Some(String::from_utf8(greeting).expect("text"))
    }

    /// Sends a message without mirrored headers.
    pub(super) async fn send(&mut self, text: &str) {
        self.send_raw(text.as_bytes(), None).await;
    }

    /// Sends a request.
    pub(super) async fn send_request(&mut self, said: &HostRequest) {
        self.send_raw(said.text.as_bytes(), Some(said)).await;
    }

    /// Sends bytes, which need not be a message.
    pub(super) async fn send_raw(&mut self, bytes: &[u8], said: Option<&HostRequest>) {
        match self {
            Self::Stdio(shim) => shim.send_raw(bytes).await,
            Self::Streamable(http) | Self::Sse(http) => http.post(bytes, said).await,
        }
    }

    /// Returns the next message.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        match self {
            Self::Stdio(shim) => shim.line().await.into_bytes(),
            Self::Streamable(http) | Self::Sse(http) => http.next().await,
        }
    }
}

impl Http {
    fn new(url: &str, era: Era) -> Self {
        let (to_inbox, inbox) = mpsc::unbounded_channel();
        Self {
            client: wire::client(),
            url: url.to_owned(),
            era,
            session: None,
            inbox,
            to_inbox,
        }
    }

    async fn next(&mut self) -> Vec<u8> {
        let message = within("a message", self.inbox.recv()).await;
        message.expect("our own end of it")
    }

    async fn post(&mut self, bytes: &[u8], said: Option<&HostRequest>) {
        let mut request = self
            .request(self.client.post(&self.url))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(bytes.to_vec());
        if let (Era::Modern, Some(said)) = (self.era, said) {
            request = request.header("mcp-method", encode_header_value(&said.method));
            if let Some(name) = &said.name {
                request = request.header("mcp-name", encode_header_value(name));
            }
        }
        let to_inbox = self.to_inbox.clone();
        tokio::spawn(async move {
            let response = request.send().await.expect("an answer");
            receive(response, &to_inbox).await;
        });
    }

    /// Opens the stream outside of requests.
    async fn listen(&mut self) {
        let request = self.request(self.client.get(&self.url));
        let response = request.header("accept", "text/event-stream").send();
        let response = response.await.expect("a stream");
        assert_eq!(response.status(), 200);
        let to_inbox = self.to_inbox.clone();
        tokio::spawn(async move { receive(response, &to_inbox).await });
    }

    /// Opens the stream of HTTP+SSE, and posts to the endpoint that its first event names.
    async fn open(&mut self) {
        self.listen().await;
        let place = self.next().await;
        let place = String::from_utf8(place).expect("text");
        let base = url::Url::parse(&self.url).expect("a URL");
        self.url = base.join(&place).expect("a URL").into();
    }

    /// Returns the session id of the handshake.
    async fn session(&mut self) -> String {
        let session = self.next().await;
        String::from_utf8(session).expect("text")
    }

    fn request(&self, request: RequestBuilder) -> RequestBuilder {
        let version = match self.era {
            Era::Legacy => "2025-11-25",
            Era::Modern => "2026-07-28",
        };
        let request = request.header("mcp-protocol-version", version);
        match &self.session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }
}

/// Adds the messages of a response to the inbox, and then its session id.
async fn receive(mut response: Response, to_inbox: &mpsc::UnboundedSender<Vec<u8>>) {
    let session = response.headers().get("mcp-session-id").cloned();
    let kind = response.headers().get("content-type");
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        let mut frames = Frames::default();
        // The stream may end with the session.
        while let Ok(Some(chunk)) = response.chunk().await {
            for (_, data) in frames.push(&chunk) {
                let _ = to_inbox.send(data.into_bytes());
            }
        }
    } else if kind.is_some_and(|kind| kind == "application/json") {
        let _ = to_inbox.send(response.bytes().await.expect("a body").into());
    }
    if let Some(session) = session {
        let _ = to_inbox.send(session.as_bytes().to_vec());
    }
}

/// Encodes a header value (2026-07-28, Streamable HTTP, "Value Encoding").
pub(super) fn encode_header_value(value: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let plain = value
        .bytes()
        .all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t');
    let padded = value.trim_matches([' ', '\t']) != value;
    let ambiguous = value.starts_with("=?base64?") && value.ends_with("?=");
    match plain && !padded && !ambiguous {
        true => value.to_owned(),
        false => format!("=?base64?{}?=", BASE64_STANDARD.encode(value)),
    }
}
