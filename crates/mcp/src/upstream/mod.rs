//! One host session's connection to one remote MCP server.
//!
//! Owns: the transport (Streamable HTTP, and HTTP+SSE of 2024-11-05), the session id, and which
//! answer belongs to which request. Does not own: signing in, retries after a refusal, or what a
//! host is told; it reports and somebody else decides.
//!
//! The rules of order. Each message is sent by a task of its own, so that a slow one holds up no
//! other. Only the handshake is waited for: what follows `initialize` is sent when that is
//! answered, what follows `notifications/initialized` when the remote has accepted that, and what
//! follows the listening stream when that is open or refused: remotes keep nothing for a stream
//! that is not there, and may ask there for something before they answer.
//! The host's answers to requests of the remote never wait (the remote may need one to finish
//! the handshake), nor do messages of the modern era, which has none.
//!
//! A server that shows that it does not speak the host's era is spoken to in its own: a
//! translation stands between the host and what is sent then, and what it says is done here
//! (`translated`). Which era a server speaks is learned once for all its connections.

mod client;
mod connection;
mod http_sse;
mod idle;
mod in_flight;
mod outgoing;
mod proxy;
mod response;
mod server_traits;
mod state;
mod stream;
mod streamable;
mod tools;
mod translated;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use model::EndpointUrl;
use model::config::Transport;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use crate::error::{Generation, UpstreamError};
pub use client::{Client, ClientError, ClientOptions};
pub use server_traits::ServerTraits;
pub use translated::INPUT_TIMEOUT;

use crate::memory::Account;
use crate::message::INVALID_REQUEST;
use crate::{Era, Kind, Message, RequestId};
use outgoing::Outgoing;
use state::{Gate, Route, State};

/// Where the remote is and how it is spoken to.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// The MCP endpoint.
    pub url: EndpointUrl,
    /// How it is spoken to.
    pub transport: Transport,
    /// Sent with every request, as they are, until there are [others](Upstream::set_headers). They
    /// may be secrets and are never shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Shared by all connections to this server.
    pub learned: Arc<ServerTraits>,
    /// Different for each connection, and impossible to guess: by it the connection knows what it
    /// holds for a host that comes back.
    pub nonce: Arc<str>,
    /// What its messages take memory from. Where there is none left, the remote is not read.
    pub memory: Account,
}

/// What a remote did.
#[derive(Debug)]
pub enum UpstreamEvent {
    /// It sent a message.
    Message {
        /// As it came.
        message: Message,
        /// The request whose answer this is, or on whose response stream it came.
        request: Option<RequestId>,
    },
    /// Something that was sent did not get through.
    Failed {
        /// The request that will get no answer; `None` for a notification, a response, the
        /// listening stream, or the one stream of HTTP+SSE.
        request: Option<RequestId>,
        /// What happened.
        failure: UpstreamError,
    },
    /// The listening stream was cut and cannot be opened again now. That goes on being tried, and
    /// nothing is lost but what the remote says meanwhile.
    StreamLost(UpstreamError),
    /// It is open again.
    StreamRestored,
    /// The token was refused where the stream of a request was to be taken up again. That is tried
    /// again in a moment, with what [`Upstream::authorize`] says.
    TokenRefused {
        /// What it was asked with.
        used: Option<HeaderValue>,
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
    },
}

impl UpstreamEvent {
    /// Returns the bytes of the message, if it is one.
    fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Message { message, .. } => Some(message.bytes().clone()),
            Self::Failed { .. }
            | Self::StreamLost(_)
            | Self::StreamRestored
            | Self::TokenRefused { .. } => None,
        }
    }
}

/// The connection. Dropping it ends its tasks; [`Upstream::close`] also tells the remote.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Upstream {
    /// Connects nothing yet.
    ///
    /// Each request that is sent gets exactly one of: a [`Message`] that is its response, or one
    /// [`UpstreamEvent::Failed`] that names it; unless it is [cancelled](Self::cancel) or the
    /// connection is closed. The channel and the memory are the back-pressure: while one is full,
    /// nothing more is read from the remote.
    #[must_use]
    pub fn open(
        client: Client,
        options: UpstreamOptions,
        events: mpsc::Sender<UpstreamEvent>,
    ) -> Self {
        let stop = CancellationToken::new();
        let shared = Shared {
            client,
            uri: address(&options.url),
            url: options.url,
            headers: RwLock::new(Arc::new(outgoing::base_headers(options.headers))),
            learned: options.learned,
            nonce: options.nonce,
            memory: options.memory,
            events,
            state: Mutex::new(State::new(options.transport)),
            translates: AtomicBool::new(false),
            emit_lock: tokio::sync::Mutex::default(),
            woken: watch::Sender::new(()),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        Self {
            shared: Arc::new(shared),
            _stop: stop.drop_guard(),
        }
    }

    /// Sends these with every request from now on, in place of the ones before.
    pub fn set_headers(&self, headers: Vec<(HeaderName, HeaderValue)>) {
        let headers = Arc::new(outgoing::base_headers(headers));
        let current = self.shared.headers.write();
        *current.unwrap_or_else(PoisonError::into_inner) = headers;
    }

    /// Sends a message of the host and returns at once. The module has the rules of order.
    ///
    /// `initialize` begins a new session, whatever there was before.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn send(&self, message: Message, authorization: Option<HeaderValue>) {
        let outgoing = Outgoing::new(message, authorization.clone());
        let mut state = self.shared.state();
        let begins = outgoing.message.method() == Some("initialize");
        if begins {
            self.shared.reset_session(&mut state);
        }
        state.authorization = authorization;
        if begins {
            self.shared.choose_translation(&mut state);
        }
        if outgoing.era() == Era::Modern {
            self.shared.choose_session(&mut state);
        }
        if let Some(translation) = &state.translation
            && translation.takes(&outgoing.message, outgoing.era())
        {
            return self.shared.on_host_message(&mut state, outgoing.message);
        }
        self.shared.transmit(&mut state, outgoing);
    }

    /// Opens the notification stream of a legacy session of Streamable HTTP, after the handshake,
    /// or opens it again.
    ///
    /// A remote that has none is no failure. A stream that is cut is resumed, with back-off and
    /// in silence, until the remote refuses: that is one [`UpstreamEvent::Failed`] without a
    /// request. Does nothing for the other transport and the other era.
    pub fn listen(&self, authorization: Option<HeaderValue>) {
        let mut state = self.shared.state();
        state.authorization = authorization;
        if state.translation.is_some() {
            return self.shared.listen_translated(&mut state);
        }
        self.shared.listen_natively(&mut state);
    }

    /// Gives a request up and closes its response stream, if it has one of its own. It gets no
    /// event any more. In the modern era that cancels it at the remote; in the legacy era
    /// `notifications/cancelled` does, which is sent like any other message and first; for a host
    /// of the other era it is sent here. Does nothing to `initialize`.
    pub fn abandon(&self, id: &RequestId) {
        self.shared.abandon_request(&mut self.shared.state(), id);
    }

    /// Opens the listening stream again where it was cut, as after a sleep of the machine, in which
    /// a stream may have died without a sign.
    pub fn wake(&self) {
        self.shared.woken.send_replace(());
    }

    /// What streams that are opened from here on are opened with.
    pub fn authorize(&self, authorization: Option<HeaderValue>) {
        self.shared.state().authorization = authorization;
    }

    /// Whether there is a session at the remote, as far as is known, that can be gone on with when
    /// it can be reached again: one of Streamable HTTP that has an id, and is the host's own.
    #[must_use]
    pub fn has_session(&self) -> bool {
        let state = self.shared.state();
        state.translation.is_none() && state.deletable_session().is_some()
    }

    /// Whether this is the session there is now, and not one before it.
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        self.shared.state().generation() == generation
    }

    /// Forgets the session. What is still owed an answer by it fails, and the remote is told that
    /// it is over, unless it has said so itself ([`UpstreamError::SessionGone`]).
    pub fn reset(&self) {
        self.shared.reset_session(&mut self.shared.state());
    }

    /// Ends every task, then the session at the remote, for which it takes two seconds at most,
    /// and as many where a host without sessions leaves requests behind. Nothing is reported any
    /// more.
    pub async fn close(self) {
        let closing_messages = self.shared.closing_messages();
        let route = self.shared.state().route(Era::Legacy);
        // HTTP+SSE has no session left to say anything in once its stream has ended.
        let (before, after) = match route {
            Route::Sse(_) => (closing_messages, Vec::new()),
            Route::Http(_) | Route::Gone(_) | Route::Translated => (Vec::new(), closing_messages),
        };
        self.shared.send_closing(&route, &before).await;
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.send_closing(&route, &after).await;
        self.shared.end_session().await;
    }
}

/// When a message that wants no answer is sent.
enum Turn {
    Now,
    /// The modern era has none to wait for.
    AfterHandshake,
    /// `notifications/initialized`.
    EndsHandshake {
        /// `initialize`, if it is unanswered.
        after: Option<Gate>,
        /// Lets the rest go.
        next: DropGuard,
    },
}

/// The address as it was given; where that is no URI, as its parser understood it.
fn address(url: &EndpointUrl) -> Option<Uri> {
    let given = url.as_str().parse();
    given.or_else(|_| url.url().as_str().parse()).ok()
}

/// What the tasks share.
struct Shared {
    client: Client,
    url: EndpointUrl,
    uri: Option<Uri>,
    headers: RwLock<Arc<HeaderMap>>,
    learned: Arc<ServerTraits>,
    nonce: Arc<str>,
    events: mpsc::Sender<UpstreamEvent>,
    state: Mutex<State>,
    /// Whether there is a translation, for those who need not lock `state` for anything else.
    translates: AtomicBool,
    memory: Account,
    /// Held by whoever tells what a translation has to tell, so that it is told in order.
    emit_lock: tokio::sync::Mutex<()>,
    /// Tells the listening stream that the machine has slept.
    woken: watch::Sender<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task that ends with the connection.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = self.stop.clone();
        // What is wrapped is moved by each wrapper, and this is large.
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        })
    }

    /// Sends a message as it is, by a task of its own.
    fn transmit(self: &Arc<Self>, state: &mut State, outgoing: Outgoing) {
        match outgoing.message.kind() {
            Kind::Request { id, method } => {
                let (id, method) = (id.clone(), Arc::clone(method));
                self.transmit_request(state, id, &method, outgoing);
            }
            Kind::Notification { method } if **method == *"notifications/initialized" => {
                let after = state.gate();
                let next = state.close_gate();
                self.transmit_other(outgoing, Turn::EndsHandshake { after, next });
            }
            Kind::Notification { .. } => {
                if let Some(id) = outgoing.message.cancels() {
                    state.cancel(&id);
                }
                self.transmit_other(outgoing, Turn::AfterHandshake);
            }
            Kind::Response { .. } | Kind::ErrorWithoutId => {
                self.transmit_other(outgoing, Turn::Now);
            }
        }
    }

    fn transmit_other(self: &Arc<Self>, outgoing: Outgoing, turn: Turn) {
        self.spawn(Arc::clone(self).send_notification(outgoing, turn));
    }

    fn transmit_request(
        self: &Arc<Self>,
        state: &mut State,
        id: RequestId,
        method: &str,
        outgoing: Outgoing,
    ) {
        let shared = Arc::clone(self);
        if state.is_pending(&id) {
            let text = "a request with this id is still unanswered; hint: use each id once";
            let refusal = Message::error_response(Some(&id), INVALID_REQUEST, text, None);
            self.spawn(shared.emit_response(id, refusal));
        } else if method == "initialize" {
            let guard = state.close_gate();
            let task = shared.handshake(outgoing, id.clone(), state.generation());
            state.track_handshake(id, guard, self.spawn(task));
        } else {
            self.launch(state, outgoing, id);
        }
    }

    /// Sends a request by a task of its own.
    fn launch(self: &Arc<Self>, state: &mut State, outgoing: Outgoing, id: RequestId) {
        let task = self.spawn(Arc::clone(self).send_request(outgoing, id.clone()));
        state.track(id, task.abort_handle());
    }

    /// Opens the listening stream by a task of its own, and holds back what follows until then.
    fn listen_natively(self: &Arc<Self>, state: &mut State) {
        let after = state.gate();
        let next = state.close_gate();
        let task = self.spawn(Arc::clone(self).listen(after, next));
        state.listen(task);
    }

    /// Begins anew.
    fn reset_session(self: &Arc<Self>, state: &mut State) {
        let generation = state.generation();
        self.reset_native(state);
        self.reset_translation(state, generation);
    }

    /// The same for what is not the translation's.
    fn reset_native(self: &Arc<Self>, state: &mut State) {
        if let Some(delete_session) = self.delete_session(state) {
            let (pending_done, closing) = (state.pending_done(), self.stop.clone());
            // Whoever closes the connection waits for that too; it is soon over.
            self.tasks.spawn(async move {
                closing.run_until_cancelled(pending_done).await;
                delete_session.await;
            });
        }
        let orphans = state.reset();
        if !orphans.is_empty() {
            self.spawn(Arc::clone(self).fail_orphans(orphans));
        }
    }

    /// What every request carries.
    fn headers(&self) -> Arc<HeaderMap> {
        let headers = self.headers.read();
        Arc::clone(&headers.unwrap_or_else(PoisonError::into_inner))
    }

    fn uri(&self) -> Result<&Uri, UpstreamError> {
        self.uri.as_ref().ok_or_else(|| UpstreamError::Unreachable {
            reason: "its URL cannot be sent; hint: percent-encode it".to_owned(),
            sent: false,
        })
    }

    /// Hands on what the remote sent on the stream of the request `on`, or on no request's.
    /// Whether that was the answer to `on`.
    async fn deliver(self: &Arc<Self>, message: Message, on: Option<&RequestId>) -> bool {
        let (request, is_last) = match message.kind() {
            Kind::Response { id, .. } => {
                let is_last = on == Some(id);
                if !self.state().record_response(id, &message, is_last) {
                    tracing::debug!(%id, "an answer that nobody waits for");
                    return is_last;
                }
                (Some(id.clone()), is_last)
            }
            Kind::Request { .. } | Kind::Notification { .. } | Kind::ErrorWithoutId => {
                (on.cloned(), false)
            }
        };
        self.report(UpstreamEvent::Message { message, request })
            .await;
        is_last
    }

    /// Tells that a request failed, if it was not answered meanwhile.
    async fn fail(self: &Arc<Self>, request: RequestId, failure: UpstreamError) {
        if self.state().record_failure(&request) {
            let request = Some(request);
            self.report(UpstreamEvent::Failed { request, failure })
                .await;
        }
    }

    async fn emit_response(self: Arc<Self>, request: RequestId, message: Message) {
        let request = Some(request);
        self.emit(UpstreamEvent::Message { message, request }).await;
    }

    /// Tells of requests that were pending and whose stream has ended.
    async fn fail_orphans(self: Arc<Self>, orphans: Vec<RequestId>) {
        for id in orphans {
            self.report(UpstreamEvent::Failed {
                request: Some(id),
                failure: UpstreamError::StreamEnded,
            })
            .await;
        }
    }

    async fn emit(&self, event: UpstreamEvent) {
        // Without a receiver there is nobody to tell, and soon no task.
        let _ = self.events.send(event).await;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UpstreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamOptions")
            .field("url", &self.url)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
