//! An MCP server that has no mind of its own: it hands every message over as it came, and what
//! it says is said byte for byte.
//!
//! Owns: the handshake, and the streams of both transports. Does not own: what is answered; the
//! case does that ([`Taken`]).

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

/// What comes back from `initialize`, as no serializer would write it.
const GREETING: &str = r#""result":{ "serverInfo":{"version":"1.0","na\u006de":"raw","name2":-0},"capabilities":{"tools":{"listChanged":true},"experimental":{"odd":1.0,"odd":1e400}},"protocolVersion":"2025-11-25","x":"\ud800"},"#;

/// What is longer is not even looked at, in bytes.
const LONGEST_OF_HANDSHAKE: usize = 4096;

/// The server. It ends with this value.
pub(super) struct Server {
    address: SocketAddr,
    taken: mpsc::UnboundedReceiver<Taken>,
    listening: Arc<watch::Sender<Option<Pieces>>>,
    serving: AbortHandle,
}

/// A message that came, and the way to answer it.
pub(super) struct Taken {
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) respond: oneshot::Sender<Response>,
}

/// The pieces of a body, as they are sent.
pub(super) type Pieces = mpsc::UnboundedSender<Bytes>;

#[derive(Clone)]
struct Shared {
    taken: mpsc::UnboundedSender<Taken>,
    /// The stream for what belongs to no request, once somebody reads it.
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
            // What is sent in pieces arrives at once.
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

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next message that is not of the handshake.
    pub(super) async fn next(&mut self) -> Taken {
        self.taken.recv().await.expect("a server that runs")
    }

    /// Forgets who listened: somebody else begins.
    pub(super) fn begin(&self) {
        self.listening.send_replace(None);
    }

    /// Whether there is one already.
    pub(super) fn has_more(&mut self) -> bool {
        !self.taken.is_empty()
    }

    /// The stream for what belongs to no request.
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

/// A whole body.
pub(super) fn whole(kind: &'static str, body: Bytes) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

/// A body in pieces that are sent one by one.
pub(super) fn pieces(kind: &'static str) -> (Pieces, Response) {
    let (pieces, from) = mpsc::unbounded_channel();
    let body = Body::from_stream(stream::unfold(from, async |mut from| {
        let piece: Bytes = from.recv().await?;
        Some((Ok::<_, Infallible>(piece), from))
    }));
    (pieces, ([(CONTENT_TYPE, kind)], body).into_response())
}

/// Nothing but that it was taken.
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
    let taken = Taken {
        body,
        headers,
        respond,
    };
    if shared.taken.send(taken).is_err() {
        return StatusCode::GONE.into_response();
    }
    response.await.unwrap_or(StatusCode::GONE.into_response())
}

/// Whether a message is of the handshake, and what is answered to it.
fn handshake(body: &[u8]) -> Option<Option<Bytes>> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        method: String,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    if body.len() > LONGEST_OF_HANDSHAKE {
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
