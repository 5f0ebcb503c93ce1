//! What a connection knows between two messages.
//!
//! Owns: the session, who waits for an answer, and who must wait for the handshake.
//! Does no I/O and never waits: it is locked for moments only.

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

/// See the module.
pub(super) struct State {
    /// `Auto` until the remote has shown what it speaks.
    pub(super) transport: Transport,
    /// What came last from the one who signs in; streams that are opened again use it.
    pub(super) authorization: Option<HeaderValue>,
    session: Session,
    /// Who waits for an answer that a session of Streamable HTTP owes.
    pending_tokens: TaskTracker,
    /// The session that the remote has last said it no longer knows.
    lost: Option<Generation>,
    /// Tells the tasks of an earlier handshake that they are late.
    generation: Generation,
    /// Closed from `initialize` to its answer, and from `notifications/initialized` to its.
    gate: Option<Gate>,
    pending: HashMap<RequestId, Pending>,
    handshake: Option<AbortOnDropHandle<()>>,
    listener: Option<AbortOnDropHandle<()>>,
    /// Once the server has shown that it does not speak the host's era.
    pub(super) translation: Option<Translation>,
    /// What the translation has to tell and nobody has told yet.
    pub(super) queued_events: VecDeque<UpstreamEvent>,
}

/// Opens once.
pub(super) type Gate = CancellationToken;

enum Session {
    /// Before a handshake, or without one.
    None,
    Http(HttpSession),
    Sse(SseSession),
}

/// A session of HTTP+SSE.
#[derive(Clone)]
pub(super) struct SseSession {
    /// Where messages are posted to.
    pub(super) endpoint: Uri,
    pub(super) generation: Generation,
}

/// Where a message goes.
pub(super) enum Route {
    Http(HttpSession),
    Sse(SseSession),
    /// HTTP+SSE without its stream: nothing can be sent before a new handshake.
    Gone(Generation),
    /// To the translation: the server does not speak this era.
    Translated,
}

/// A request that waits for its answer.
struct Pending {
    task: AbortHandle,
    /// Of `initialize`: opens the gate when it is answered or has failed.
    handshake: Option<DropGuard>,
    /// The remote was told that nobody waits for it any more, and may answer all the same.
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

    /// What a message of the legacy era must wait for.
    pub(super) fn gate(&mut self) -> Option<Gate> {
        if self.gate.as_ref().is_some_and(Gate::is_cancelled) {
            self.gate = None;
        }
        self.gate.clone()
    }

    /// Lets what comes after wait until the guard is dropped.
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

    /// Remembers a request that is being sent by `task`.
    pub(super) fn track(&mut self, id: RequestId, task: AbortHandle) {
        let pending = Pending {
            task,
            handshake: None,
            is_cancelled: false,
        };
        self.pending.insert(id, pending);
    }

    /// Remembers the request `initialize`, whose task may live on as the reader of a stream.
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

    /// Takes note that the remote is told that nobody waits for this request.
    pub(super) fn cancel(&mut self, id: &RequestId) {
        if let Some(pending) = self.pending.get_mut(id) {
            pending.is_cancelled = true;
        }
    }

    /// Whether an answer is waited for so much that its stream is asked for again.
    pub(super) fn is_wanted(&self, id: &RequestId) -> bool {
        let pending = self.pending.get(id);
        pending.is_some_and(|pending| !pending.is_cancelled)
    }

    /// Takes note of an answer. False if nobody waits for it, and it must not be told.
    ///
    /// Answers may come on any stream; what comes `on_its_own` counts only for the very request
    /// that the calling task has sent, not for a later one with the same id.
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

    /// Takes note that the calling task got no answer. False if that must not be told.
    pub(super) fn record_failure(&mut self, id: &RequestId) -> bool {
        let ours = self.pending.get(id).is_some_and(Pending::is_own_task);
        ours && self.pending.remove(id).is_some()
    }

    /// The agreed version goes out with all that waits for the gate.
    fn record_version(&mut self, answer: &Message) {
        if let (Session::Http(session), Some(result)) =
            (&mut self.session, InitializeResult::from_response(answer))
        {
            session.version = HeaderValue::from_str(&result.protocol_version).ok();
        }
    }

    /// Forgets a request and closes its stream. A handshake goes on: it is the session's.
    pub(super) fn abandon(&mut self, id: &RequestId) {
        let is_request = |pending: &Pending| pending.handshake.is_none();
        if self.pending.get(id).is_some_and(is_request)
            && let Some(pending) = self.pending.remove(id)
        {
            pending.task.abort();
        }
    }

    /// Begins anew. Returns the requests that nobody will answer now.
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

    /// Streamable HTTP answers each request where it was asked, so only a handshake is lost with
    /// its session; HTTP+SSE answers all on the one stream.
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

    /// The remote speaks Streamable HTTP. False if it is late.
    pub(super) fn begin_http(&mut self, of: Generation, id: Option<HeaderValue>) -> bool {
        if self.generation == of {
            self.transport = Transport::Http;
            self.session = Session::Http(HttpSession::new(id, of));
        }
        self.generation == of
    }

    /// The remote speaks HTTP+SSE. False if it is late.
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

    /// The stream of HTTP+SSE was cut. Returns the requests it owed; `None` if it is late.
    pub(super) fn end_sse(&mut self, of: Generation) -> Option<Vec<RequestId>> {
        if self.generation != of {
            return None;
        }
        // The caller is the task of the handshake; it has to live to tell.
        let caller = self
            .pending
            .extract_if(|_, pending| pending.handshake.is_some());
        let mut orphans: Vec<_> = caller.map(|(id, _)| id).collect();
        orphans.extend(self.orphans());
        self.session = Session::None;
        Some(orphans)
    }

    /// Where messages of the host go that are of this era.
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

    /// Whether the server does not speak this era of the host's.
    pub(super) fn translates(&self, era: Era) -> bool {
        let translation = self.translation.as_ref();
        translation.is_some_and(|translation| translation.era() == era)
    }

    /// Whether there is a session, the host's own where there is no translation.
    pub(super) fn has_session(&self) -> bool {
        !matches!(self.session, Session::None)
    }

    /// The session of Streamable HTTP, if there is one.
    pub(super) fn http_session(&self) -> Option<&HttpSession> {
        match &self.session {
            Session::Http(session) => Some(session),
            Session::None | Session::Sse(_) => None,
        }
    }

    /// The session that the remote still knows, if it can be told that it is over.
    pub(super) fn deletable_session(&self) -> Option<&HttpSession> {
        let is_lost = |session: &&HttpSession| self.lost == Some(session.generation);
        let session = self.http_session().filter(|session| !is_lost(session))?;
        session.id.as_ref().map(|_| session)
    }

    /// Ends when nobody waits any more for what this session owes.
    pub(super) fn pending_done(&self) -> impl Future<Output = ()> + 'static {
        let pending_tokens = self.pending_tokens.clone();
        async move {
            pending_tokens.close();
            pending_tokens.wait().await;
        }
    }

    /// Takes note that the remote no longer knows this session.
    pub(super) fn record_lost(&mut self, of: Generation) {
        self.lost = Some(of);
    }

    /// Ends the listener there may be, in favour of this one.
    pub(super) fn listen(&mut self, task: JoinHandle<()>) {
        self.listener = Some(AbortOnDropHandle::new(task));
    }
}

impl Pending {
    fn is_own_task(&self) -> bool {
        tokio::task::try_id() == Some(self.task.id())
    }
}
