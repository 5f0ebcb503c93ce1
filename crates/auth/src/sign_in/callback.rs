//! The address on this machine that the browser comes back to.
//!
//! It listens on 127.0.0.1 and on ::1 under one port, because a browser may take either for
//! `localhost` and a port left free on one of them could be taken by another program. It answers
//! the two paths a redirect URI may have, by query or by form, under the names of this machine
//! alone; everything else gets a short refusal and changes nothing. Dropping it frees the port.
//!
//! Does not own: which connection gives way where there are too many (`connections`).

mod connections;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::connections::{Connections, MAX_CONNECTIONS, Stage};
use super::approval_page::{Gate, UserDecision};
use super::page::Page;
use super::pending::Answer;
use crate::identity::IsOtherUser;

/// How much of a form is read. A code and a state are below 4 KiB.
const LARGEST_FORM: usize = 64 * 1024;

/// How much of a head is read. Browsers send the cookies of every port of `localhost`.
const MAX_HEAD: usize = 64 * 1024;

/// How long nothing is accepted while the system refuses that and no connection can give way.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often another port is tried when one is free on 127.0.0.1 only.
const TRIES: usize = 16;

/// What a listener serves.
#[derive(Clone)]
pub(super) struct Pages {
    /// The path of the redirect URI. No other one takes a response: another authorization server,
    /// which knows another path, could be made to send its own response here (mix-up attack,
    /// RFC 9700 §4.4).
    pub(super) redirect_path: String,
    /// The page that precedes that of the authorization server.
    pub(super) gate: Option<Gate>,
    /// Tells whose connections give way first.
    pub(super) is_other_user: IsOtherUser,
}

/// A complete request.
enum Received<'a> {
    /// An authorization response.
    Response(Answer),
    /// The user's answer on the approval page.
    Decision(&'a Gate, UserDecision),
}

/// A port of this machine, held.
#[derive(Debug)]
pub(super) struct CallbackListener {
    v4: TcpListener,
    /// Absent where the machine has no IPv6.
    v6: Option<TcpListener>,
    port: u16,
}

/// The port wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// This one and no other.
    Fixed(u16),
    /// This one if it is free.
    Favoured(u16),
    /// Any.
    Any,
}

impl CallbackListener {
    /// Takes the port on both loopback addresses.
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
        for _ in 1..TRIES {
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
            // No IPv6 here: nobody can take the port there either.
            Err(_) => None,
        };
        Ok(Self { v4, v6, port })
    }

    /// Starts answering; what `arrived` is told by others comes in as well.
    pub(super) fn serve(self, (arrived, arrivals): Arrivals, pages: Pages) -> Callbacks {
        let mut task = JoinSet::new();
        task.spawn(self.accept(arrived, pages));
        Callbacks {
            arrivals,
            _task: task,
        }
    }

    async fn accept(self, arrived: mpsc::Sender<Arrival>, pages: Pages) {
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
                    let (arrived, pages) = (arrived.clone(), pages.clone());
                    connections.admit(is_other_user, |stage| {
                        serve(stream, self.port, arrived, pages, stage)
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                // Out of file descriptors, most likely.
                Err(_) if connections.give_way() => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            // What has arrived on the connections so far is read before the next one may need the
            // place of one of them, however fast a process connects.
            tokio::task::yield_now().await;
        }
    }
}

/// Whether `accept` failed because of a connection that its peer has given up.
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

/// Where answers go in, and where they come out.
pub(super) type Arrivals = (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>);

pub(super) fn arrivals() -> Arrivals {
    mpsc::channel(MAX_CONNECTIONS)
}

/// What comes in. Dropping it closes every connection and frees the port.
pub(super) struct Callbacks {
    arrivals: mpsc::Receiver<Arrival>,
    _task: JoinSet<()>,
}

/// A browser with something that looks like an answer, waiting for a page.
pub(super) struct Arrival {
    pub(super) answer: Answer,
    reply: oneshot::Sender<Page>,
    /// Ends when the connection does.
    closed: oneshot::Receiver<Infallible>,
}

impl Callbacks {
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }
}

impl Arrival {
    /// An answer without a connection, and the page that it would be shown.
    pub(super) fn without_connection(answer: Answer) -> (Self, oneshot::Receiver<Page>) {
        let (reply, page) = oneshot::channel();
        let (_, closed) = oneshot::channel();
        let arrival = Self {
            answer,
            reply,
            closed,
        };
        (arrival, page)
    }

    /// Answers with `page`, without waiting until the browser has it: one that does not read must
    /// not keep others waiting.
    pub(super) fn reply(self, page: Page) {
        let _ = self.reply.send(page);
    }

    /// Shows `page` and waits until the browser has it, two seconds at most.
    pub(super) async fn show(self, page: Page) {
        if self.reply.send(page).is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.closed).await;
        }
    }
}

/// Serves one connection, which carries one request, and records in `stage` how far it is.
async fn serve(
    stream: TcpStream,
    port: u16,
    arrived: mpsc::Sender<Arrival>,
    pages: Pages,
    stage: watch::Sender<Stage>,
) {
    let (open, closed) = oneshot::channel();
    let desk = Desk {
        port,
        arrived,
        pages,
        stage,
        closed: Arc::new(Mutex::new(Some(closed))),
    };
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    // A browser that goes away in the middle is its own business.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(open);
}

#[derive(Clone)]
struct Desk {
    port: u16,
    arrived: mpsc::Sender<Arrival>,
    pages: Pages,
    stage: watch::Sender<Stage>,
    closed: Arc<Mutex<Option<oneshot::Receiver<Infallible>>>>,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let page = match self.read(request).await {
            Ok(received) => {
                self.stage.send_replace(Stage::Waiting);
                let page = match received {
                    Received::Response(answer) => self.pass_on(answer).await,
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
                "This address answers on this machine only.",
            ));
        }
        let path = request.uri().path();
        if path == self.pages.redirect_path {
            return read_answer(request).await.map(Received::Response);
        }
        match &self.pages.gate {
            Some(gate) if gate.is_at(path) => {
                let decision = gate.read(request).await?;
                Ok(Received::Decision(gate, decision))
            }
            Some(_) | None => Err(refused(StatusCode::NOT_FOUND, "Nothing is here.")),
        }
    }

    async fn pass_on(&self, answer: Answer) -> Page {
        let (reply, page) = oneshot::channel();
        let closed = self
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(closed) = closed else {
            return not_expected();
        };
        let arrival = Arrival {
            answer,
            reply,
            closed,
        };
        if self.arrived.send(arrival).await.is_err() {
            return not_expected();
        }
        page.await.unwrap_or_else(|_| not_expected())
    }

    /// Whether the request is for a name of this machine: a page elsewhere must not get here
    /// through a name of its own that resolves to 127.0.0.1.
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

/// The authorization response in a query or in a form.
async fn read_answer(request: Request<Incoming>) -> Result<Answer, Page> {
    let form = match *request.method() {
        Method::GET => Bytes::copy_from_slice(request.uri().query().unwrap_or("").as_bytes()),
        Method::POST => form(request).await?,
        _ => {
            return Err(refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "Only a sign-in ends here.",
            ));
        }
    };
    Answer::parse(&form).ok_or_else(|| {
        refused(
            StatusCode::BAD_REQUEST,
            "This answer names something twice, which no real one does.",
        )
    })
}

pub(super) async fn form(request: Request<Incoming>) -> Result<Bytes, Page> {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        kind.as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Only a form is read here.",
        ));
    }
    match Limited::new(request.into_body(), LARGEST_FORM)
        .collect()
        .await
    {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "This answer is too long.",
        )),
    }
}

pub(super) fn refused(status: StatusCode, reason: &'static str) -> Page {
    Page::NotExpected { status, reason }
}

/// For an answer to no sign-in that is going on here.
pub(super) fn not_expected() -> Page {
    refused(
        StatusCode::BAD_REQUEST,
        "No sign-in waits for this answer. It may belong to one that has ended: start again from Postern.",
    )
}
