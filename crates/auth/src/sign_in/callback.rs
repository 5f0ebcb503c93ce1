//! The callback listener of a sign-in (RFC 8252 §7.3).
//!
//! It listens on 127.0.0.1 and on ::1 with one port, because a browser may use either for
//! `localhost`, and another program could take a port that is free on one of them. It serves the
//! paths of the redirect URI, by query or by form, for the host names of this machine only.
//! Everything else gets a short error page and changes nothing. Dropping it frees the port.
//!
//! Does not own: which connection is closed if there are too many (`connections`).

mod connections;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::connections::{Connections, MAX_CONNECTIONS, Stage};
use super::approval_page::{Gate, UserDecision};
use super::form::form;
use super::page::{Page, not_expected, refused};
use super::pending::AuthorizationResponse;
use crate::target::IsOtherUser;

/// The maximum size of the headers. Browsers send the cookies of all ports of `localhost`.
const MAX_HEAD: usize = 64 * 1024;

/// The pause in accepting connections after an error, if no connection can be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many ports are tried if one is free on 127.0.0.1 only.
const MAX_ATTEMPTS: usize = 16;

/// The pages of a listener.
#[derive(Clone)]
pub(super) struct Pages {
    /// The path of the redirect URI. No other path takes a response. Another authorization server,
    /// which knows another path, could be made to send its own response here (mix-up attack, RFC
    /// 9700 §4.4).
    pub(super) redirect_path: String,
    /// The approval page, which precedes that of the authorization server.
    pub(super) gate: Option<Gate>,
    /// Decides whose connections are closed first.
    pub(super) is_other_user: IsOtherUser,
}

/// A complete request.
enum Received<'a> {
    /// An authorization response.
    Response(AuthorizationResponse),
    /// The user's answer on the approval page.
    Decision(&'a Gate, UserDecision),
}

/// A bound callback port.
#[derive(Debug)]
pub(super) struct CallbackListener {
    v4: TcpListener,
    /// `None` if the machine has no IPv6.
    v6: Option<TcpListener>,
    port: u16,
}

/// The port to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Only this port.
    Fixed(u16),
    /// This port if it is free, else any.
    Favoured(u16),
    /// Any port.
    Any,
}

impl CallbackListener {
    /// Binds the port on both loopback addresses.
    pub(super) async fn bind(port: Port) -> io::Result<Self> {
        match port {
            Port::Fixed(port) => Self::on(port).await,
            Port::Favoured(port) => match Self::on(port).await {
                Ok(listener) => Ok(listener),
                Err(_) => Self::anywhere().await,
            },
            Port::Any => Self::anywhere().await,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    async fn anywhere() -> io::Result<Self> {
        let mut last = Self::on(0).await;
        for _ in 1..MAX_ATTEMPTS {
            if last.is_ok() {
                break;
            }
            last = Self::on(0).await;
        }
        last
    }

    async fn on(port: u16) -> io::Result<Self> {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = v4.local_addr()?.port();
        let v6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(v6) => Some(v6),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // The machine has no IPv6, so no other process can take the port there either.
            Err(_) => None,
        };
        Ok(Self { v4, v6, port })
    }

    /// Starts serving. `sender` also takes responses that do not arrive on a connection.
    pub(super) fn serve(self, (sender, requests): CallbackChannel, pages: Pages) -> Callbacks {
        let mut task = JoinSet::new();
        task.spawn(self.accept(sender, pages));
        Callbacks {
            requests,
            _task: task,
        }
    }

    async fn accept(self, sender: mpsc::Sender<CallbackRequest>, pages: Pages) {
        let mut connections = Connections::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.v4.accept() => accepted,
                accepted = accept_if_there(self.v6.as_ref()) => accepted,
                true = connections.ended() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let here = stream.local_addr();
                    let is_other_user = pages.is_other_user;
                    let is_other_user = here.is_ok_and(|here| is_other_user(peer, here));
                    let (sender, pages) = (sender.clone(), pages.clone());
                    connections.admit(is_other_user, |stage| {
                        serve(stream, self.port, sender, pages, stage)
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                // Most likely there are no file descriptors left.
                Err(_) if connections.give_way() => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            // Reads what has arrived on the connections before the next one may replace one of
            // them, however fast a process connects.
            tokio::task::yield_now().await;
        }
    }
}

/// Returns true if `accept` failed because the peer gave up its connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

async fn accept_if_there(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// The channel for authorization responses.
pub(super) type CallbackChannel = (
    mpsc::Sender<CallbackRequest>,
    mpsc::Receiver<CallbackRequest>,
);

pub(super) fn channel() -> CallbackChannel {
    mpsc::channel(MAX_CONNECTIONS)
}

/// The received authorization responses. Dropping it closes all connections and frees the port.
pub(super) struct Callbacks {
    requests: mpsc::Receiver<CallbackRequest>,
    _task: JoinSet<()>,
}

/// An authorization response, and the browser that waits for a page.
pub(super) struct CallbackRequest {
    pub(super) response: AuthorizationResponse,
    reply: oneshot::Sender<Page>,
    /// Completes when the connection ends.
    closed: oneshot::Receiver<Infallible>,
}

impl Callbacks {
    pub(super) async fn next(&mut self) -> Option<CallbackRequest> {
        self.requests.recv().await
    }
}

impl CallbackRequest {
    /// Creates a request without a connection. Returns the page that it would show.
    pub(super) fn without_connection(
        response: AuthorizationResponse,
    ) -> (Self, oneshot::Receiver<Page>) {
        let (reply, page) = oneshot::channel();
        let (_, closed) = oneshot::channel();
        let request = Self {
            response,
            reply,
            closed,
        };
        (request, page)
    }

    /// Responds with `page`. Does not wait until the browser has read it, because one that does
    /// not read must not delay others.
    pub(super) fn reply(self, page: Page) {
        let _ = self.reply.send(page);
    }

    /// Responds with `page`, and waits up to two seconds until the browser has read it.
    pub(super) async fn show(self, page: Page) {
        if self.reply.send(page).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.closed).await;
        }
    }
}

/// Serves one connection, which carries one request. Records its progress in `stage`.
async fn serve(
    stream: TcpStream,
    port: u16,
    sender: mpsc::Sender<CallbackRequest>,
    pages: Pages,
    stage: watch::Sender<Stage>,
) {
    let (open, closed) = oneshot::channel();
    let handler = CallbackService {
        port,
        sender,
        pages,
        stage,
        closed: Arc::new(Mutex::new(Some(closed))),
    };
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.respond(request).await) }
    });
    // The browser may disconnect at any time.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(open);
}

#[derive(Clone)]
struct CallbackService {
    port: u16,
    sender: mpsc::Sender<CallbackRequest>,
    pages: Pages,
    stage: watch::Sender<Stage>,
    closed: Arc<Mutex<Option<oneshot::Receiver<Infallible>>>>,
}

impl CallbackService {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let page = match self.read(request).await {
            Ok(received) => {
                self.stage.send_replace(Stage::Waiting);
                let page = match received {
                    Received::Response(response) => self.pass_on(response).await,
                    Received::Decision(gate, decision) => gate.decide(decision).await,
                };
                self.stage.send_replace(Stage::Answered);
                page
            }
            Err(page) => page,
        };
        page.response()
    }

    async fn read(&self, request: Request<Incoming>) -> Result<Received<'_>, Page> {
        if !self.is_addressed(&request) {
            return Err(refused(
                StatusCode::MISDIRECTED_REQUEST,
                "This address is for this machine only.",
            ));
        }
        let path = request.uri().path();
        if path == self.pages.redirect_path {
            return read_response(request).await.map(Received::Response);
        }
        match &self.pages.gate {
            Some(gate) if gate.is_at(path) => {
                let decision = gate.read(request).await?;
                Ok(Received::Decision(gate, decision))
            }
            Some(_) | None => Err(refused(
                StatusCode::NOT_FOUND,
                "There is no page at this address.",
            )),
        }
    }

    async fn pass_on(&self, response: AuthorizationResponse) -> Page {
        let (reply, page) = oneshot::channel();
        let closed = self
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(closed) = closed else {
            return not_expected();
        };
        let request = CallbackRequest {
            response,
            reply,
            closed,
        };
        if self.sender.send(request).await.is_err() {
            return not_expected();
        }
        page.await.unwrap_or_else(|_| not_expected())
    }

    /// Returns true if `Host` names this machine. A web page must not get here through its own
    /// host name that resolves to 127.0.0.1.
    fn is_addressed(&self, request: &Request<Incoming>) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|name| host.as_bytes() == format!("{name}:{}", self.port).as_bytes())
    }
}

/// Reads the authorization response from the query or the form.
async fn read_response(request: Request<Incoming>) -> Result<AuthorizationResponse, Page> {
    let form = match *request.method() {
        Method::GET => Bytes::copy_from_slice(request.uri().query().unwrap_or("").as_bytes()),
        Method::POST => form(request).await?,
        _ => {
            return Err(refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "This address accepts sign-in responses only.",
            ));
        }
    };
    AuthorizationResponse::parse(&form).ok_or_else(|| {
        refused(
            StatusCode::BAD_REQUEST,
            "This response has a duplicate parameter.",
        )
    })
}
