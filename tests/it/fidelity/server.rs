//! A scripted MCP server: it hands each message to the case and sends the case's bytes unchanged.
//!
//! Owns: the handshake, and the streams of both transports.
//! Does not own: the responses, which the case sends ([`ReceivedMessage`]).

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

/// The result of `initialize`, as no serializer writes it.
const GREETING: &str = r#""result":{ "serverInfo":{"version":"1.0","na\u006de":"raw","name2":-0},"capabilities":{"tools":{"listChanged":true},"experimental":{"odd":1.0,"odd":1e400}},"protocolVersion":"2025-11-25","x":"\ud800"},"#;

/// Longer bodies are not parsed, in bytes.
const MAX_HANDSHAKE_LENGTH: usize = 4096;

/// The server. It stops when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    taken: mpsc::UnboundedReceiver<ReceivedMessage>,
    listening: Arc<watch::Sender<Option<Pieces>>>,
    serving: AbortHandle,
}

/// A received message, and the channel for its response.
pub(super) struct ReceivedMessage {
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) respond: oneshot::Sender<Response>,
}

/// The pieces of a body.
pub(super) type Pieces = mpsc::UnboundedSender<Bytes>;

#[derive(Clone)]
struct Shared {
    taken: mpsc::UnboundedSender<ReceivedMessage>,
    /// The stream outside of requests, once a client has opened it.
    listening: Arc<watch::Sender<Option<Pieces>>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let (taken, inbox) = mpsc::unbounded_channel();
        let listening = Arc::new(watch::Sender::new(None));
        let routes = Router::new()
            .route("/mcp", post(streamable).get(listen).delete(end))
            .route("/sse", get(open))
            .route("/message", post(message))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Shared {
                taken,
                listening: Arc::clone(&listening),
            });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            // Sends each piece at once.
            let listener = listener.tap_io(|stream| {
                stream.set_nodelay(true).expect("an option of TCP");
            });
            axum::serve(listener, routes).await
        });
        Self {
            address,
            taken: inbox,
            listening,
            serving: serving.abort_handle(),
        }
    }

    /// Returns the address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the next message after the handshake.
    pub(super) async fn next(&mut self) -> ReceivedMessage {
        self.taken.recv().await.expect("a server that runs")
    }

    /// Forgets the open stream, because another host begins.
    pub(super) fn begin(&self) {
        self.listening.send_replace(None);
    }

    /// Returns true if a message is waiting.
    pub(super) fn has_more(&mut self) -> bool {
        !self.taken.is_empty()
    }

    /// Waits for the stream outside of requests.
    pub(super) async fn stream(&mut self) -> Pieces {
        let open = |stream: &Option<Pieces>| stream.as_ref().is_some_and(|it| !it.is_closed());
        let mut news = self.listening.subscribe();
        let stream = news.wait_for(open).await;
        stream
            .expect("a server that runs")
            .clone()
            .expect("a stream")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns a response with a whole body.
pub(super) fn whole(kind: &'static str, body: Bytes) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

/// Returns a response whose body is sent in pieces.
pub(super) fn pieces(kind: &'static str) -> (Pieces, Response) {
    let (pieces, from) = mpsc::unbounded_channel();
    let body = Body::from_stream(stream::unfold(from, async |mut from| {
        let piece: Bytes = from.recv().await?;
        Some((Ok::<_, Infallible>(piece), from))
    }));
    (pieces, ([(CONTENT_TYPE, kind)], body).into_response())
}

/// Returns 202 without a body.
pub(super) fn accepted() -> Response {
    StatusCode::ACCEPTED.into_response()
}

async fn streamable(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    match handshake(&body) {
        Some(Some(answer)) => {
            let mut response = whole("application/json", answer);
            let session = "a-session".parse().expect("a header");
            response.headers_mut().insert("mcp-session-id", session);
            response
        }
        Some(None) => accepted(),
        None => hand_over(&shared, headers, body).await,
    }
}

async fn listen(State(shared): State<Shared>) -> Response {
    let (stream, response) = pieces("text/event-stream");
    stream.send(Bytes::from_static(b":\n\n")).expect("a body");
    shared.listening.send_replace(Some(stream));
    response
}

async fn end() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn open(State(shared): State<Shared>) -> Response {
    let (stream, response) = pieces("text/event-stream");
    let first = Bytes::from_static(b"event: endpoint\ndata: /message\n\n");
    stream.send(first).expect("a body");
    shared.listening.send_replace(Some(stream));
    response
}

async fn message(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    match handshake(&body) {
        Some(Some(answer)) => {
            let stream = shared.listening.borrow().clone().expect("a stream");
            let event = [b"data: ", &answer[..], b"\n\n"].concat();
            stream.send(event.into()).expect("a stream that is read");
            accepted()
        }
        Some(None) => accepted(),
        None => hand_over(&shared, headers, body).await,
    }
}

async fn hand_over(shared: &Shared, headers: HeaderMap, body: Bytes) -> Response {
    let (respond, response) = oneshot::channel();
    let taken = ReceivedMessage {
        body,
        headers,
        respond,
    };
    if shared.taken.send(taken).is_err() {
        return StatusCode::GONE.into_response();
    }
    response.await.unwrap_or(StatusCode::GONE.into_response())
}

/// Returns `None` if the message is not part of the handshake, and otherwise its response, if it
/// needs one.
fn handshake(body: &[u8]) -> Option<Option<Bytes>> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        method: String,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    if body.len() > MAX_HANDSHAKE_LENGTH {
        return None;
    }
    let message: Envelope<'_> = serde_json::from_slice(body).ok()?;
    match message.method.as_str() {
        "initialize" => {
            let id = message.id.expect("an id");
            let answer = format!(r#"{{{GREETING} "id":{id},"jsonrpc":"2.0"}}"#);
            Some(Some(answer.into()))
        }
        "notifications/initialized" => Some(None),
        _ => None,
    }
}
