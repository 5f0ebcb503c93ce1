//! Hosts that say what they are told to, byte for byte, and keep what they hear as it came.

use reqwest::{Client, RequestBuilder, Response};
use tokio::sync::mpsc;

use super::message::{Era, Said};
use crate::harness::{
    bridge::Bridge,
    shim::Shim,
    wire::{self, Frames},
    within,
};

/// What every host begins with.
const INITIALIZE: &str = r#"{"params":{"clientInfo":{"version":"1","name":"odd","name2":1e400},"capabilities":{"experimental":{"a":1.0,"a":-0}},"protocolVersion":"2025-11-25"},"method":"initialize","jsonrpc":"2.0","id":0}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A host, by how it reaches its server.
pub(super) enum Host {
    Stdio(Box<Shim>),
    Streamable(Http),
    Sse(Http),
}

/// A host on either transport of HTTP.
pub(super) struct Http {
    client: Client,
    url: String,
    era: Era,
    session: Option<String>,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    hears: mpsc::UnboundedSender<Vec<u8>>,
}

impl Host {
    /// A host behind a shim.
    pub(super) async fn stdio(bridge: &Bridge, server: &str, era: Era) -> (Self, Option<String>) {
        let mut host = Self::Stdio(Box::new(Shim::spawn(bridge, server)));
        let greeting = host.greet(era).await;
        (host, greeting)
    }

    /// A host on Streamable HTTP.
    pub(super) async fn streamable(url: &str, era: Era) -> (Self, Option<String>) {
        let mut host = Self::Streamable(Http::new(url, era));
        let greeting = host.greet(era).await;
        (host, greeting)
    }

    /// A host on HTTP+SSE.
    pub(super) async fn sse(url: &str) -> (Self, Option<String>) {
        let mut http = Http::new(url, Era::Legacy);
        http.open().await;
        let mut host = Self::Sse(http);
        let greeting = host.greet(Era::Legacy).await;
        (host, greeting)
    }

    /// Shakes hands, where there is such a thing; what the server said to it.
    async fn greet(&mut self, era: Era) -> Option<String> {
        if era == Era::Modern {
            return None;
        }
        self.tell(INITIALIZE).await;
        let greeting = self.next().await;
        if let Self::Streamable(http) = self {
            http.session = Some(http.session().await);
        }
        self.tell(INITIALIZED).await;
        if let Self::Streamable(http) = self {
            http.listen().await;
        }
        Some(String::from_utf8(greeting).expect("text"))
    }

    /// Says something of which nothing has to be repeated in headers.
    pub(super) async fn tell(&mut self, text: &str) {
        self.say(text.as_bytes(), None).await;
    }

    /// Asks something.
    pub(super) async fn ask(&mut self, said: &Said) {
        self.say(said.text.as_bytes(), Some(said)).await;
    }

    /// Says what may be no message at all.
    pub(super) async fn say(&mut self, bytes: &[u8], said: Option<&Said>) {
        match self {
            Self::Stdio(shim) => shim.say(bytes).await,
            Self::Streamable(http) | Self::Sse(http) => http.post(bytes, said).await,
        }
    }

    /// The next message it hears.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        match self {
            Self::Stdio(shim) => shim.line().await.into_bytes(),
            Self::Streamable(http) | Self::Sse(http) => http.next().await,
        }
    }
}

impl Http {
    fn new(url: &str, era: Era) -> Self {
        let (hears, heard) = mpsc::unbounded_channel();
        Self {
            client: wire::client(),
            url: url.to_owned(),
            era,
            session: None,
            heard,
            hears,
        }
    }

    async fn next(&mut self) -> Vec<u8> {
        let heard = within("a message", self.heard.recv()).await;
        heard.expect("our own end of it")
    }

    async fn post(&mut self, bytes: &[u8], said: Option<&Said>) {
        let mut request = self
            .request(self.client.post(&self.url))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(bytes.to_vec());
        if let (Era::Modern, Some(said)) = (self.era, said) {
            request = request.header("mcp-method", mirrored(&said.method));
            if let Some(name) = &said.name {
                request = request.header("mcp-name", mirrored(name));
            }
        }
        let hears = self.hears.clone();
        tokio::spawn(async move {
            let response = request.send().await.expect("an answer");
            hear(response, &hears).await;
        });
    }

    /// The stream for what belongs to no request.
    async fn listen(&mut self) {
        let request = self.request(self.client.get(&self.url));
        let response = request.header("accept", "text/event-stream").send();
        let response = response.await.expect("a stream");
        assert_eq!(response.status(), 200);
        let hears = self.hears.clone();
        tokio::spawn(async move { hear(response, &hears).await });
    }

    /// The stream for everything; posts to where its first event says.
    async fn open(&mut self) {
        self.listen().await;
        let place = self.next().await;
        let place = String::from_utf8(place).expect("text");
        let base = url::Url::parse(&self.url).expect("a URL");
        self.url = base.join(&place).expect("a URL").into();
    }

    /// The session that the answer to the handshake named.
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

/// Takes in what a response says, and the session that it names after that.
async fn hear(mut response: Response, hears: &mpsc::UnboundedSender<Vec<u8>>) {
    let session = response.headers().get("mcp-session-id").cloned();
    let kind = response.headers().get("content-type");
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        let mut frames = Frames::default();
        // The end of a conversation is no fault of it.
        while let Ok(Some(chunk)) = response.chunk().await {
            for (_, data) in frames.push(&chunk) {
                let _ = hears.send(data.into_bytes());
            }
        }
    } else if kind.is_some_and(|kind| kind == "application/json") {
        let _ = hears.send(response.bytes().await.expect("a body").into());
    }
    if let Some(session) = session {
        let _ = hears.send(session.as_bytes().to_vec());
    }
}

/// As the specification has it (2026-07-28, Streamable HTTP, "Value Encoding").
pub(super) fn mirrored(value: &str) -> String {
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
