//! The state of a connection between two messages.
//!
//! Owns: the session, the pending requests, and the gate that delays messages during the handshake.
//! Does no I/O and never waits, because it is only locked briefly.

use std::collections::{HashMap, VecDeque};

use http::{HeaderValue, Uri};
use model::config::Transport;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::UpstreamEvent;
use super::outgoing::HttpSession;
use crate::error::Generation;
use crate::handshake::InitializeResult;
use crate::translate::Translation;
use crate::{Era, Message, RequestId};

/// The state of a connection.
pub(super) struct State {
    /// `Auto` until the server has shown which transport it speaks.
    pub(super) transport: Transport,
    /// The latest authorization, with which streams are reopened.
    pub(super) authorization: Option<HeaderValue>,
    session: Session,
    /// Counts the tasks that wait for a response in the Streamable HTTP session.
    pending_tokens: TaskTracker,
    /// The latest session that the server said it no longer knows.
    lost: Option<Generation>,
    /// Tells tasks of an earlier handshake that their session is over.
    generation: Generation,
    /// Closed from `initialize` to its response, and from `notifications/initialized` to its
    /// acceptance.
    gate: Option<Gate>,
    pending: HashMap<RequestId, Pending>,
    handshake: Option<AbortOnDropHandle<()>>,
    listener: Option<AbortOnDropHandle<()>>,
    /// `Some` once the server has shown that it does not speak the host's era.
    pub(super) translation: Option<Translation>,
    /// Events of the translation that are not emitted yet.
    pub(super) queued_events: VecDeque<UpstreamEvent>,
}

/// A gate that opens once.
pub(super) type Gate = CancellationToken;

enum Session {
    /// Before a handshake, or without one.
    None,
    Http(HttpSession),
    Sse(SseSession),
}

/// An HTTP+SSE session.
#[derive(Clone)]
pub(super) struct SseSession {
    /// The endpoint that messages are posted to.
    pub(super) endpoint: Uri,
    pub(super) generation: Generation,
}

/// Where a message is sent.
pub(super) enum Route {
    Http(HttpSession),
    Sse(SseSession),
    /// HTTP+SSE without its stream: nothing can be sent before a new handshake.
    Gone(Generation),
    /// The translation, because the server does not speak this era.
    Translated,
}

/// A request without a response yet.
struct Pending {
    task: AbortHandle,
    /// Set for `initialize`. Opens the gate when the response arrives or the request fails.
    handshake: Option<DropGuard>,
    /// The server was told that the request is cancelled, but may still respond.
    is_cancelled: bool,
}

impl State {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            authorization: None,
            session: Session::None,
            pending_tokens: TaskTracker::new(),
            lost: None,
            generation: Generation::default(),
            gate: None,
            pending: HashMap::new(),
            handshake: None,
            listener: None,
            translation: None,
            queued_events: VecDeque::new(),
        }
    }

    /// Returns the gate that messages of the legacy era wait for. Returns `None` if it is open.
    pub(super) fn gate(&mut self) -> Option<Gate> {
        if self.gate.as_ref().is_some_and(Gate::is_cancelled) {
            self.gate = None;
        }
        self.gate.clone()
    }

    /// Closes the gate for later messages until the guard is dropped.
    pub(super) fn close_gate(&mut self) -> DropGuard {
        let gate = Gate::new();
        self.gate = Some(gate.clone());
        gate.drop_guard()
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn is_pending(&self, id: &RequestId) -> bool {
        self.pending.contains_key(id)
    }

    /// Records a request that `task` sends.
    pub(super) fn track(&mut self, id: RequestId, task: AbortHandle) {
        let pending = Pending {
            task,
            handshake: None,
            is_cancelled: false,
        };
        self.pending.insert(id, pending);
    }

    /// Records the `initialize` request, whose task may live on as the reader of a stream.
    pub(super) fn track_handshake(
        &mut self,
        id: RequestId,
        guard: DropGuard,
        task: JoinHandle<()>,
    ) {
        let pending = Pending {
            task: task.abort_handle(),
            handshake: Some(guard),
            is_cancelled: false,
        };
        self.pending.insert(id, pending);
        self.handshake = Some(AbortOnDropHandle::new(task));
    }

    /// Records that the server was told of the cancellation of this request.
    pub(super) fn cancel(&mut self, id: &RequestId) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.is_cancelled = true;
        }
    }

    /// Returns true if the request is pending and not cancelled, so that its stream is worth
    /// resuming.
    pub(super) fn is_wanted(&self, id: &RequestId) -> bool {
        let pending = self.pending.get(id);
        pending.is_some_and(|pending| !pending.is_cancelled)
    }

    /// Records a response. Returns false if it must not be delivered because no request waits for
    /// it.
    ///
    /// Responses may come on any stream. One that comes `on_its_own` stream counts only for the
    /// request that the calling task has sent, not for a later one with the same id.
    pub(super) fn record_response(
        &mut self,
        id: &RequestId,
        answer: &Message,
        on_its_own: bool,
    ) -> bool {
        let awaited = |pending: &Pending| !on_its_own || pending.is_own_task();
        if !self.pending.get(id).is_some_and(awaited) {
            return false;
        }
        let pending = self.pending.remove(id);
        if pending.is_some_and(|pending| pending.handshake.is_some()) {
            self.record_version(answer);
        }
        true
    }

    /// Records that the request of the calling task failed. Returns false if that must not be
    /// reported.
    pub(super) fn record_failure(&mut self, id: &RequestId) -> bool {
        let ours = self.pending.get(id).is_some_and(Pending::is_own_task);
        ours && self.pending.remove(id).is_some()
    }

    /// Stores the agreed version, which all messages behind the gate carry.
    fn record_version(&mut self, answer: &Message) {
        if let (Session::Http(session), Some(result)) =
            (&mut self.session, InitializeResult::from_response(answer))
        {
            session.version = HeaderValue::from_str(&result.protocol_version).ok();
        }
    }

    /// Removes a request and closes its stream. A handshake continues, because it belongs to the
    /// session.
    pub(super) fn abandon(&mut self, id: &RequestId) {
        let is_request = |pending: &Pending| pending.handshake.is_none();
        if self.pending.get(id).is_some_and(is_request)
            && let Some(pending) = self.pending.remove(id)
        {
            pending.task.abort();
        }
    }

    /// Ends the session. Returns the requests that get no response any more.
    pub(super) fn reset(&mut self) -> Vec<RequestId> {
        let orphans = self.orphans();
        self.generation = self.generation.next();
        self.session = Session::None;
        self.pending_tokens = TaskTracker::new();
        self.gate = None;
        self.handshake = None;
        self.listener = None;
        orphans
    }

    /// Returns the requests that end with the session. Streamable HTTP answers each request on its
    /// own response, so only a handshake is lost with its session. HTTP+SSE answers all requests on
    /// the one stream.
    fn orphans(&mut self) -> Vec<RequestId> {
        let all = self.transport == Transport::Sse;
        let lost = |_: &RequestId, pending: &mut Pending| all || pending.handshake.is_some();
        let lost = self.pending.extract_if(lost);
        lost.map(|(id, pending)| {
            pending.task.abort();
            id
        })
        .collect()
    }

    /// Begins a Streamable HTTP session. Returns false if a later handshake has superseded this
    /// one.
    pub(super) fn begin_http(&mut self, of: Generation, id: Option<HeaderValue>) -> bool {
        if self.generation == of {
            self.transport = Transport::Http;
            self.session = Session::Http(HttpSession::new(id, of));
        }
        self.generation == of
    }

    /// Begins an HTTP+SSE session. Returns false if a later handshake has superseded this one.
    pub(super) fn begin_sse(&mut self, of: Generation, endpoint: Uri) -> bool {
        if self.generation == of {
            self.transport = Transport::Sse;
            self.session = Session::Sse(SseSession {
                endpoint,
                generation: of,
            });
        }
        self.generation == of
    }

    /// Ends the HTTP+SSE session. Returns its pending requests, or `None` if a later handshake has
    /// superseded it.
    pub(super) fn end_sse(&mut self, of: Generation) -> Option<Vec<RequestId>> {
        if self.generation != of {
            return None;
        }
        // The calling task is that of the handshake and must live on to report this.
        let caller = self
            .pending
            .extract_if(|_, pending| pending.handshake.is_some());
        let mut orphans: Vec<_> = caller.map(|(id, _)| id).collect();
        orphans.extend(self.orphans());
        self.session = Session::None;
        Some(orphans)
    }

    /// Returns where messages of the host of this era are sent.
    pub(super) fn route(&self, era: Era) -> Route {
        if self.translates(era) {
            return Route::Translated;
        }
        match (&self.session, self.transport) {
            (Session::Http(session), _) => {
                Route::Http(session.with_token(self.pending_tokens.token()))
            }
            (Session::Sse(session), _) => Route::Sse(session.clone()),
            (Session::None, Transport::Sse) => Route::Gone(self.generation),
            (Session::None, Transport::Auto | Transport::Http) => {
                Route::Http(HttpSession::default())
            }
        }
    }

    /// Returns true if a translation handles messages of this era, which the server does not speak.
    pub(super) fn translates(&self, era: Era) -> bool {
        let translation = self.translation.as_ref();
        translation.is_some_and(|translation| translation.era() == era)
    }

    /// Returns true if there is a session. Without a translation it is the host's own.
    pub(super) fn has_session(&self) -> bool {
        !matches!(self.session, Session::None)
    }

    /// Returns the Streamable HTTP session, if any.
    pub(super) fn http_session(&self) -> Option<&HttpSession> {
        match &self.session {
            Session::Http(session) => Some(session),
            Session::None | Session::Sse(_) => None,
        }
    }

    /// Returns the session that can be deleted: it has an id, and the server still knows it.
    pub(super) fn deletable_session(&self) -> Option<&HttpSession> {
        let is_lost = |session: &&HttpSession| self.lost == Some(session.generation);
        let session = self.http_session().filter(|session| !is_lost(session))?;
        session.id.as_ref().map(|_| session)
    }

    /// Returns a future that completes when no task waits for a response in this session.
    pub(super) fn pending_done(&self) -> impl Future<Output = ()> + 'static {
        let pending_tokens = self.pending_tokens.clone();
        async move {
            pending_tokens.close();
            pending_tokens.wait().await;
        }
    }

    /// Records that the server no longer knows this session.
    pub(super) fn record_lost(&mut self, of: Generation) {
        self.lost = Some(of);
    }

    /// Replaces the listening task, and ends the one before it.
    pub(super) fn listen(&mut self, task: JoinHandle<()>) {
        self.listener = Some(AbortOnDropHandle::new(task));
    }
}

impl Pending {
    fn is_own_task(&self) -> bool {
        tokio::task::try_id() == Some(self.task.id())
    }
}
