//! A server whose every response is decided by the test, and the host's side of a connection to it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use mcp::memory::Budget;
use mcp::upstream::{
    Client, ClientOptions, ServerTraits, Upstream, UpstreamError, UpstreamEvent, UpstreamOptions,
};
use mcp::{Message, RequestId, sse};
use model::EndpointUrl;
use model::config::Transport;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Far longer than anything here takes. Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("nothing happened")
}

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) origin: String,
    calls: mpsc::UnboundedReceiver<Call>,
    waiting: VecDeque<Call>,
}

/// A request that waits for the test's response.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The port of the client's connection. `None` over TLS.
    pub(crate) port: Option<u16>,
    answer: oneshot::Sender<Response<Body>>,
}

/// The test's side of an event stream. Dropping it ends the stream gracefully.
#[derive(Debug)]
pub(crate) struct Events(mpsc::UnboundedSender<Result<Bytes, &'static str>>);

/// An application that sends its requests to the channel.
pub(crate) fn app() -> (Router, mpsc::UnboundedReceiver<Call>) {
    let (sender, calls) = mpsc::unbounded_channel();
    let handle = move |request: Request| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let (answer, answered) = oneshot::channel();
            let path = head.uri.path_and_query().unwrap().to_string();
            let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
            let _ = sender.send(Call {
                path,
                body,
                answer,
                method: head.method,
                headers: head.headers,
                port: peer.map(|peer| peer.0.port()),
            });
            // Dropping a call breaks the connection.
            answered
                .await
                .unwrap_or_else(|_| response(StatusCode::OK, broken()))
        }
    };
    (Router::new().fallback(handle), calls)
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    Response::builder().status(status).body(body).unwrap()
}

fn broken() -> Body {
    Body::from_stream(tokio_stream::once(Err::<Bytes, _>("broken")))
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (app, calls) = app();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let waiting = VecDeque::new();
        Self {
            origin,
            calls,
            waiting,
        }
    }

    /// Returns the next request.
    pub(crate) async fn call(&mut self) -> Call {
        match self.waiting.pop_front() {
            Some(call) => call,
            None => soon(self.calls.recv()).await.unwrap(),
        }
    }

    /// Returns the next request with this HTTP method. Keeps all others.
    pub(crate) async fn call_by(&mut self, method: Method) -> Call {
        if let Some(at) = self.waiting.iter().position(|call| call.method == method) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let call = soon(self.calls.recv()).await.unwrap();
            if call.method == method {
                return call;
            }
            self.waiting.push_back(call);
        }
    }

    /// Returns true if no request is waiting.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.waiting.is_empty() && self.calls.is_empty()
    }
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn message(&self) -> Message {
        Message::parse(self.body.clone()).unwrap()
    }

    /// Returns true if this is the POST of this method.
    pub(crate) fn is(&self, method: &str) -> bool {
        self.method == Method::POST && self.message().method() == Some(method)
    }

    pub(crate) fn respond(self, response: Response<Body>) {
        self.answer.send(response).unwrap();
    }

    pub(crate) fn status(self, status: u16) {
        self.respond(response(
            StatusCode::from_u16(status).unwrap(),
            Body::empty(),
        ));
    }

    pub(crate) fn refuse(self, status: u16, content_type: &str, body: impl Into<Body>) {
        let mut response = response(StatusCode::from_u16(status).unwrap(), body.into());
        let kind = HeaderValue::from_str(content_type).unwrap();
        response.headers_mut().insert("content-type", kind);
        self.respond(response);
    }

    pub(crate) fn json(self, body: impl Into<Body>) {
        self.refuse(200, "application/json; charset=utf-8", body);
    }

    /// Answers the request with this result.
    pub(crate) fn result(self, result: &str) {
        let id = self.message().id().unwrap().clone();
        self.json(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
        ));
    }

    /// Answers with one event.
    pub(crate) fn event(self, message: &str) {
        self.events().message(message);
    }

    /// Answers with an event stream.
    pub(crate) fn events(self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let body = Body::from_stream(UnboundedReceiverStream::new(receiver));
        self.refuse(200, "text/event-stream", body);
        Events(sender)
    }

    /// Accepts `initialize` into this session.
    pub(crate) fn initialized(self, session: &str) {
        self.initialized_with(session, r#"{"protocolVersion":"2025-06-18"}"#);
    }

    /// Accepts `initialize` into this session with this result.
    pub(crate) fn initialized_with(self, session: &str, result: &str) {
        assert!(self.is("initialize"), "{self:?}");
        let id = self.message().id().unwrap().clone();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let mut response = response(StatusCode::OK, Body::from(body));
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("mcp-session-id", HeaderValue::from_str(session).unwrap());
        self.respond(response);
    }

    /// Waits until the client has disconnected.
    pub(crate) async fn gone(mut self) {
        soon(self.answer.closed()).await;
    }
}

impl Events {
    pub(crate) fn send(&self, text: &str) {
        self.0
            .send(Ok(Bytes::copy_from_slice(text.as_bytes())))
            .unwrap();
    }

    pub(crate) fn message(&self, json: &str) {
        self.send(&format!("event: message\ndata: {json}\n\n"));
    }

    pub(crate) fn data(&self, data: &[u8]) {
        self.0.send(Ok(sse::encode(None, None, data))).unwrap();
    }

    /// Breaks the connection.
    pub(crate) fn kill(self) {
        self.0.send(Err("killed")).unwrap();
    }

    /// Waits until the client has disconnected.
    pub(crate) async fn gone(self) {
        soon(self.0.closed()).await;
    }
}

/// The host's side of a connection.
pub(crate) struct Host {
    pub(crate) upstream: Upstream,
    events: mpsc::Receiver<UpstreamEvent>,
}

pub(crate) fn client() -> Client {
    Client::new(ClientOptions::default()).unwrap()
}

pub(crate) fn text(json: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

pub(crate) fn request(id: i64, method: &str) -> Message {
    Message::request(&RequestId::number(id), method, None)
}

impl Host {
    pub(crate) fn new(server: &Server, path: &str, transport: Transport) -> Self {
        Self::with(client(), &format!("{}{path}", server.origin), transport)
    }

    /// One of several connections that share what they learn.
    pub(crate) fn learning(
        server: &Server,
        path: &str,
        transport: Transport,
        learned: &Arc<ServerTraits>,
    ) -> Self {
        let url = format!("{}{path}", server.origin);
        Self::open(client(), &url, transport, Arc::clone(learned))
    }

    pub(crate) fn with(client: Client, url: &str, transport: Transport) -> Self {
        Self::open(client, url, transport, Arc::default())
    }

    fn open(client: Client, url: &str, transport: Transport, learned: Arc<ServerTraits>) -> Self {
        let (sender, events) = mpsc::channel(4);
        let options = UpstreamOptions {
            url: EndpointUrl::allowing_http(url).unwrap(),
            transport,
            headers: vec![("x-key".parse().unwrap(), HeaderValue::from_static("k"))],
            learned,
            nonce: "n".into(),
            memory: Budget::default().account(),
        };
        let upstream = Upstream::open(client, options, sender);
        Self { upstream, events }
    }

    /// A host and a server after the handshake, in session `s`.
    pub(crate) async fn ready() -> (Self, Server) {
        let mut server = Server::start().await;
        let mut host = Self::new(&server, "/mcp", Transport::Auto);
        host.handshake(&mut server, "s").await;
        (host, server)
    }

    pub(crate) async fn handshake(&mut self, server: &mut Server, session: &str) {
        self.send(&request(0, "initialize"));
        server.call().await.initialized(session);
        assert!(self.message().await.result().is_some());
        self.send(&Message::notification("notifications/initialized", None));
        server.call().await.status(202);
    }

    pub(crate) fn send(&self, message: &Message) {
        self.upstream.send(message.clone(), None);
    }

    pub(crate) fn send_as(&self, message: &Message, token: &'static str) {
        self.upstream
            .send(message.clone(), Some(HeaderValue::from_static(token)));
    }

    pub(crate) async fn event(&mut self) -> UpstreamEvent {
        soon(self.events.recv())
            .await
            .expect("the connection has ended")
    }

    /// Returns the next event, which must be a message.
    pub(crate) async fn message(&mut self) -> Message {
        self.message_on().await.0
    }

    /// Returns the next event, which must be a message, and the request it belongs to.
    pub(crate) async fn message_on(&mut self) -> (Message, Option<RequestId>) {
        match self.event().await {
            UpstreamEvent::Message { message, request } => (message, request),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the next event, which must be the failure of this request, or of none.
    pub(crate) async fn failure(&mut self, of: Option<i64>) -> UpstreamError {
        match self.event().await {
            UpstreamEvent::Failed { request, failure } => {
                assert_eq!(request, of.map(RequestId::number), "{failure}");
                failure
            }
            other => panic!("{other:?}"),
        }
    }

    /// Closes the connection, which must have no more events.
    pub(crate) async fn end(self) {
        let Self {
            upstream,
            mut events,
        } = self;
        soon(upstream.close()).await;
        if let Some(event) = events.recv().await {
            panic!("{event:?}");
        }
    }

    /// Closes the connection like [`Self::end`], in a session that must be deleted.
    pub(crate) async fn end_session(self, server: &mut Server) {
        let ending = tokio::spawn(self.end());
        server.call_by(Method::DELETE).await.status(204);
        ending.await.unwrap();
        assert!(server.is_idle());
    }
}

/// Returns a body in chunks of this size.
pub(crate) fn chunks(bytes: &Bytes, size: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    Body::from_stream(tokio_stream::iter(chunks).map(Ok::<_, Infallible>))
}
