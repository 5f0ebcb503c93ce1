//! The connection of one host session to one MCP server.
//!
//! Owns: the transport (Streamable HTTP, and HTTP+SSE of 2024-11-05), the session id, and which
//! response belongs to which request. Does not own: signing in, retries after an error, and what a
//! host is told. It reports events, and the bridge's session decides.
//!
//! Order of messages: each message is sent by its own task, so that a slow one delays no other.
//! Only the handshake delays what follows. Messages after `initialize` wait for its response,
//! messages after `notifications/initialized` wait until the server has accepted it, and messages
//! after the listening stream wait until that is open or refused, because servers keep no messages
//! for a stream that is not open, and may send a request on it before they respond. Two kinds of
//! messages never wait: the host's responses to requests of the server, because the server may need
//! one to finish the handshake, and messages of the modern era, which has no handshake.
//!
//! If a server shows that it does not speak the host's era, it gets messages of its own era: a
//! translation converts between host and server, and this module performs the translation's actions
//! (`translated`). All connections to a server share what one has learned about its era.

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

/// The server's address and how to connect to it.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// The MCP endpoint.
    pub url: EndpointUrl,
    /// The transport of the endpoint.
    pub transport: Transport,
    /// Headers of every request, until [`Upstream::set_headers`] replaces them. They may be secrets
    /// and are never shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is known about the server, shared by all connections to it.
    pub learned: Arc<ServerTraits>,
    /// Different for each connection and impossible to guess. The connection recognizes by it the
    /// requests that it keeps open for a host that retries.
    pub nonce: Arc<str>,
    /// The memory account of the server's messages. While it is exhausted, the server is not read.
    pub memory: Account,
}

/// An event of the connection to the server.
#[derive(Debug)]
pub enum UpstreamEvent {
    /// The server sent a message.
    Message {
        /// The message as it arrived.
        message: Message,
        /// The request that this answers, or whose response stream it arrived on.
        request: Option<RequestId>,
    },
    /// A message did not get through.
    Failed {
        /// The request that gets no response. `None` for a notification, a response, the listening
        /// stream, or the one stream of HTTP+SSE.
        request: Option<RequestId>,
        /// What happened.
        failure: UpstreamError,
    },
    /// The listening stream ended and cannot be opened again now. The connection keeps trying. Only
    /// what the server sends meanwhile is lost.
    StreamLost(UpstreamError),
    /// The listening stream is open again.
    StreamRestored,
    /// The server rejected the token when the stream of a request was to be resumed. The connection
    /// tries again soon, with the authorization that [`Upstream::authorize`] sets.
    TokenRefused {
        /// The authorization that was rejected.
        used: Option<HeaderValue>,
        /// The values of `WWW-Authenticate`, joined by `, `.
        challenge: Option<String>,
    },
}

impl UpstreamEvent {
    /// Returns the bytes of the message. Returns `None` for any other event.
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

/// The connection to a server. Dropping it ends its tasks. [`Upstream::close`] also ends the
/// session at the server.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Upstream {
    /// Creates the connection, without sending anything yet.
    ///
    /// Each request that is sent gets exactly one event: a [`Message`] that is its response, or one
    /// [`UpstreamEvent::Failed`] that names it. It gets none if it is [abandoned](Self::abandon) or
    /// the connection is closed. The channel and the memory account provide back-pressure: while
    /// one of them is full, nothing more is read from the server.
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

    /// Replaces the configured headers of every request from now on.
    pub fn set_headers(&self, headers: Vec<(HeaderName, HeaderValue)>) {
        let headers = Arc::new(outgoing::base_headers(headers));
        let current = self.shared.headers.write();
        *current.unwrap_or_else(PoisonError::into_inner) = headers;
    }

    /// Sends a message of the host and returns at once. The module documents the order.
    ///
    /// `initialize` begins a new session and ends the one before it.
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

    /// Opens or reopens the notification stream of a legacy Streamable HTTP session, after the
    /// handshake.
    ///
    /// A server without that stream is not an error. A stream that ends is resumed, with back-off
    /// and without an event, until the server refuses it: that is one [`UpstreamEvent::Failed`]
    /// without a request. Does nothing for HTTP+SSE and the modern era.
    pub fn listen(&self, authorization: Option<HeaderValue>) {
        let mut state = self.shared.state();
        state.authorization = authorization;
        if state.translation.is_some() {
            return self.shared.listen_translated(&mut state);
        }
        self.shared.listen_natively(&mut state);
    }

    /// Abandons a request and closes its response stream, if it has one of its own. The request
    /// gets no more events. In the modern era, closing the stream cancels the request at the
    /// server. In the legacy era `notifications/cancelled` cancels it, which the caller sends
    /// first, like any other message. For a host of the other era, the translation sends it. Does
    /// nothing to `initialize`.
    pub fn abandon(&self, id: &RequestId) {
        self.shared.abandon_request(&mut self.shared.state(), id);
    }

    /// Reopens the listening stream after the computer slept, because a stream may have died
    /// unnoticed.
    pub fn wake(&self) {
        self.shared.woken.send_replace(());
    }

    /// Sets the authorization of all streams that are opened from now on.
    pub fn authorize(&self, authorization: Option<HeaderValue>) {
        self.shared.state().authorization = authorization;
    }

    /// Returns true if the connection has a session that can continue when the server is reachable
    /// again. That is a Streamable HTTP session with an id that belongs to the host, not to a
    /// translation.
    #[must_use]
    pub fn has_session(&self) -> bool {
        let state = self.shared.state();
        state.translation.is_none() && state.deletable_session().is_some()
    }

    /// Returns true if this is the generation of the present session.
    #[must_use]
    pub fn is_current(&self, generation: Generation) -> bool {
        self.shared.state().generation() == generation
    }

    /// Ends the session. Requests that it still had to answer fail. Deletes the session at the
    /// server, unless the server has said that it is gone ([`UpstreamError::SessionGone`]).
    pub fn reset(&self) {
        self.shared.reset_session(&mut self.shared.state());
    }

    /// Ends every task, then the session at the server. Takes at most two seconds, and two more if
    /// a host without sessions leaves requests behind. No more events are reported.
    pub async fn close(self) {
        let closing_messages = self.shared.closing_messages();
        let route = self.shared.state().route(Era::Legacy);
        // The end of the HTTP+SSE stream ends the session, so closing messages have to come first.
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

/// When a message that expects no response is sent.
enum Turn {
    Now,
    /// The modern era has no handshake to wait for.
    AfterHandshake,
    /// `notifications/initialized`.
    EndsHandshake {
        /// The end of `initialize`, if that is pending.
        after: Option<Gate>,
        /// Opens the gate for later messages when it is dropped.
        next: DropGuard,
    },
}

/// Returns the URI as the user wrote it. If that is not a valid URI, returns what the URL parser
/// made of it.
fn address(url: &EndpointUrl) -> Option<Uri> {
    let given = url.as_str().parse();
    given.or_else(|_| url.url().as_str().parse()).ok()
}

/// The state that the tasks share.
struct Shared {
    client: Client,
    url: EndpointUrl,
    uri: Option<Uri>,
    headers: RwLock<Arc<HeaderMap>>,
    learned: Arc<ServerTraits>,
    nonce: Arc<str>,
    events: mpsc::Sender<UpstreamEvent>,
    state: Mutex<State>,
    /// True while there is a translation, for readers that need no lock of `state` otherwise.
    translates: AtomicBool,
    memory: Account,
    /// Locked by the task that emits queued events, so that they are emitted in order.
    emit_lock: tokio::sync::Mutex<()>,
    /// Tells the listening stream that the computer has slept.
    woken: watch::Sender<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spawns a task that ends with the connection.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let stop = self.stop.clone();
        // Each wrapper moves the future that it wraps, and this one is large.
        let task = Box::pin(task);
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        })
    }

    /// Sends a message unchanged, in its own task.
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

    /// Sends a request in its own task.
    fn launch(self: &Arc<Self>, state: &mut State, outgoing: Outgoing, id: RequestId) {
        let task = self.spawn(Arc::clone(self).send_request(outgoing, id.clone()));
        state.track(id, task.abort_handle());
    }

    /// Opens the listening stream in its own task, and delays later messages until it is open.
    fn listen_natively(self: &Arc<Self>, state: &mut State) {
        let after = state.gate();
        let next = state.close_gate();
        let task = self.spawn(Arc::clone(self).listen(after, next));
        state.listen(task);
    }

    /// Ends the session and the translation's state.
    fn reset_session(self: &Arc<Self>, state: &mut State) {
        let generation = state.generation();
        self.reset_native(state);
        self.reset_translation(state, generation);
    }

    /// Ends the session at the server that is not the translation's.
    fn reset_native(self: &Arc<Self>, state: &mut State) {
        if let Some(delete_session) = self.delete_session(state) {
            let (pending_done, closing) = (state.pending_done(), self.stop.clone());
            // Closing the connection waits for that as well. It is short.
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

    /// Returns the headers of every request.
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

    /// Delivers a message that arrived on the stream of the request `on`, or on no request's
    /// stream. Returns true if it was the response to `on`.
    async fn deliver(self: &Arc<Self>, message: Message, on: Option<&RequestId>) -> bool {
        let (request, is_last) = match message.kind() {
            Kind::Response { id, .. } => {
                let is_last = on == Some(id);
                if !self.state().record_response(id, &message, is_last) {
                    tracing::debug!(%id, "dropped a response without a pending request");
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

    /// Reports that a request failed, unless it was answered meanwhile.
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

    /// Reports the failure of pending requests whose stream has ended.
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
        // Without a receiver, the connection is about to be dropped.
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
