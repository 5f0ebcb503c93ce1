//! The task that owns a session: waits for events and dispatches them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use control::api::{Problem, ServerState};
use mcp::memory::Account;
use mcp::upstream::{Upstream, UpstreamEvent, UpstreamOptions};
use mcp::{Message, RequestId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::{AfterToken, Authorized, Backoff, ConnectionState, HostProtocol};
use super::context::SessionContext;
use super::elicitation::Elicitation;
use super::outbox::{Outbox, RequestTimeout};
use super::subscriptions::Subscriptions;
use super::timeouts::Timeouts;
use super::{CHANNEL_CAPACITY, HANDSHAKE_WAIT, HostInput, HostMessage, OwnIds, SessionKind, Task};
use crate::pending_sign_ins::{ElicitationRequest, OngoingSignIn, SignInOutcome};
use crate::registry::Server;
use crate::session_registry::Listing;
use crate::stand_in;
use crate::{headers, problem};

/// How long pending responses are awaited after the host has half-closed. Longer than a shim waits.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(150);

/// The maximum of messages that wait for the host. It is left unread beyond that, and the server
/// even before. The host is also left unread if their memory has no room.
const MAX_UNREAD: usize = 1024;

/// The events of a session.
enum Event {
    /// The host sent a message, or will send nothing more.
    Host(Option<Message>),
    /// The host has disconnected.
    HostGone,
    /// The server sent a message or failed.
    Server(UpstreamEvent),
    /// The requested token, and what follows.
    Authorized(AfterToken, Authorized),
    /// An account signed in or out.
    AccountsChanged,
    /// A grant has a new access token.
    Refreshed,
    /// The sign-in that this session awaited has ended.
    SignInEnded(SignInOutcome),
    /// The host is to be asked to show a page.
    Elicitation(ElicitationRequest),
    /// The last elicitation was cancelled.
    ElicitationCancelled,
    /// The configuration changed or removed the server.
    Replaced,
    /// The machine has slept.
    Resumed,
    /// A deadline has passed.
    Timer,
    /// The bridge ends.
    Shutdown,
}

pub(super) async fn run(
    context: Arc<SessionContext>,
    server: Arc<Server>,
    listing: Listing,
    kind: SessionKind,
    from_host: mpsc::Receiver<Message>,
    to_host: mpsc::Sender<HostMessage>,
    memory: Account,
) {
    let (up, events) = connect(&context, &server, &memory);
    let timeouts = Timeouts::from_settings(&context.config.settings(), &listing);
    let session_guard =
        (kind == SessionKind::Host).then(|| context.sessions.register(&server.name, listing));
    let mut task = Task {
        up,
        events,
        timeouts,
        unreachable: None,
        host: HostInput::Open,
        unread: VecDeque::new(),
        memory,
        pending_guard: None,
        connection: ConnectionState::Idle,
        account: None,
        protocol: HostProtocol::Unknown,
        outbox: Outbox::default(),
        subscriptions: Subscriptions::default(),
        delayed_result: None,
        handshake_deadline: None,
        sign_in: None,
        elicitation: Elicitation::default(),
        backoff: Backoff::default(),
        refusals: 0,
        accepted: None,
        listen_again: false,
        own_ids: OwnIds::default(),
        context,
        server,
        kind,
        to_host,
        session_guard,
    };
    task.drive(from_host).await;
    // Ends the session at the server. The host does not wait for that.
    task.into_upstream().close().await;
}

fn connect(
    context: &SessionContext,
    server: &Server,
    memory: &Account,
) -> (Upstream, mpsc::Receiver<UpstreamEvent>) {
    let (events_in, events) = mpsc::channel(CHANNEL_CAPACITY);
    let options = UpstreamOptions {
        url: server.config.url.clone(),
        transport: server.config.transport,
        headers: headers::constant(server).unwrap_or_default(),
        learned: Arc::clone(&server.learned),
        nonce: Uuid::new_v4().simple().to_string().into(),
        memory: memory.clone(),
    };
    let up = Upstream::open(context.upstream.clone(), options, events_in);
    (up, events)
}

impl Task {
    async fn drive(&mut self, mut from_host: mpsc::Receiver<Message>) {
        let mut news = self.context.notifications.account_changes();
        let mut refreshes = self.context.identity.refreshes();
        let mut resumes = self.context.sessions.resumes();
        let (shutdown, to_host) = (
            self.context.background.shutdown().clone(),
            self.to_host.clone(),
        );
        while !self.is_over() {
            self.update_pending_guard();
            let due = self.next_due();
            let replaced = self.server.replaced.clone();
            // Responses of the bridge take memory as well.
            let (has_room, memory) = (self.memory.has_room(), self.memory.clone());
            let hears = matches!(self.host, HostInput::Open)
                && self.outbox.has_room()
                && self.unread.len() < MAX_UNREAD
                && has_room;
            let event = tokio::select! {
                message = from_host.recv(), if hears => Event::Host(message),
                Ok(room) = to_host.reserve(), if !self.unread.is_empty() => {
                    if let Some(message) = self.unread.pop_front() {
                        room.send(message);
                    }
                    continue;
                }
                Some(event) = self.events.recv(), if self.unread.len() < CHANNEL_CAPACITY => Event::Server(event),
                () = memory.room(), if !has_room => continue,
                (next, authorized) = asked(&mut self.connection) => Event::Authorized(next, authorized),
                outcome = outcome(&self.sign_in) => Event::SignInEnded(outcome),
                asked = self.elicitation.next() => match asked {
                    Some(request) => Event::Elicitation(request),
                    None => Event::ElicitationCancelled,
                },
                Ok(()) = news.changed() => Event::AccountsChanged,
                Ok(()) = refreshes.changed() => Event::Refreshed,
                Ok(()) = resumes.changed() => Event::Resumed,
                () = replaced.cancelled(), if !matches!(self.host, HostInput::Draining) => Event::Replaced,
                () = until(due) => Event::Timer,
                () = to_host.closed() => Event::HostGone,
                () = shutdown.cancelled() => Event::Shutdown,
            };
            match event {
                Event::Host(Some(message)) => self.on_host(message),
                Event::Host(None) => {
                    let until = Instant::now() + DRAIN_TIMEOUT;
                    self.host = HostInput::Ended { until };
                    self.end_subscriptions();
                    self.end_elicitations();
                }
                Event::Server(UpstreamEvent::Message { message, request }) => {
                    self.on_server(message, request);
                }
                Event::Server(UpstreamEvent::Failed { request, failure }) => {
                    self.on_failure(request, failure);
                }
                Event::Server(UpstreamEvent::StreamLost(failure)) => self.on_away(&failure),
                Event::Server(UpstreamEvent::StreamRestored) => self.on_back(),
                Event::Server(UpstreamEvent::TokenRefused { used, challenge }) => {
                    self.on_token_refused(used.as_ref(), challenge.as_deref());
                }
                Event::Authorized(next, authorized) => self.on_authorized(next, authorized),
                Event::AccountsChanged => self.on_accounts_changed(),
                Event::Refreshed => self.on_refreshed(),
                Event::SignInEnded(outcome) => self.on_sign_in_ended(outcome),
                Event::Elicitation(request) => self.on_elicitation(request),
                Event::ElicitationCancelled => self.on_elicitation_cancelled(),
                Event::Replaced => self.on_replaced(),
                Event::Resumed => self.on_resume(),
                Event::Timer => self.on_timer(),
                Event::HostGone | Event::Shutdown => return,
            }
        }
    }

    /// Updates whether the host waits for a response.
    fn update_pending_guard(&mut self) {
        let owes = self.awaits_handshake()
            || self.outbox.has_unanswered()
            || self.delayed_result.is_some()
            || !self.unread.is_empty();
        if owes != self.pending_guard.is_some() {
            self.pending_guard = owes.then(|| self.context.sessions.track_pending());
        }
    }

    fn into_upstream(self) -> Upstream {
        self.up
    }

    fn is_over(&self) -> bool {
        let is_delivered = self.unread.is_empty();
        match self.host {
            HostInput::Open => false,
            HostInput::Ended { until } => {
                let is_settled = self.outbox.is_settled()
                    && !self.awaits_handshake()
                    && self.delayed_result.is_none();
                until <= Instant::now() || (is_settled && is_delivered)
            }
            HostInput::Draining => is_delivered,
        }
    }

    /// Follows a change of the configuration: continues with the new server, or ends the session.
    fn on_replaced(&mut self) {
        let successor = self.context.config.registry().successor(&self.server);
        if let Some(next) = &successor
            && next.config == self.server.config
        {
            self.server = Arc::clone(next);
            return;
        }
        let problem = problem::replaced(successor.is_some());
        self.suspend_subscriptions();
        for pending in self.outbox.pending.take_all() {
            if pending.is_wanted() {
                self.fail(&pending.message, &problem);
            }
        }
        match successor {
            Some(next) => self.move_to(next),
            None => self.end_session(&problem),
        }
    }

    fn move_to(&mut self, server: Arc<Server>) {
        self.server = server;
        let (up, events) = connect(&self.context, &self.server, &self.memory);
        let old = std::mem::replace(&mut self.up, up);
        self.events = events;
        self.context.background.spawn(old.close());
        self.account = None;
        self.accepted = None;
        self.unreachable = None;
        self.backoff.reset();
        match &mut self.protocol {
            HostProtocol::Unknown => self.connection = ConnectionState::Idle,
            HostProtocol::Modern => self.request_token(AfterToken::Connect),
            HostProtocol::Legacy(handshake) => {
                handshake.stale = true;
                self.request_token(AfterToken::Connect);
            }
        }
    }

    fn end_session(&mut self, problem: &Problem) {
        if let HostProtocol::Legacy(handshake) = &mut self.protocol
            && !std::mem::replace(&mut handshake.answered, true)
        {
            let initialize = handshake.initialize.clone();
            self.fail(&initialize, problem);
        }
        let subscriptions = self.subscriptions.take_all();
        for message in self.outbox.take_if(|_| true).iter().chain(&subscriptions) {
            self.fail(message, problem);
        }
        self.host = HostInput::Draining;
    }

    /// Sends a message to the host, now or once it takes it.
    pub(super) fn send_to_host(&mut self, message: Message, request: Option<RequestId>) {
        self.deliver(HostMessage {
            message,
            request,
            sent: None,
        });
    }

    pub(super) fn deliver(&mut self, outgoing: HostMessage) {
        if !self.unread.is_empty() {
            self.unread.push_back(outgoing);
        } else if let Err(TrySendError::Full(outgoing)) = self.to_host.try_send(outgoing) {
            self.unread.push_back(outgoing);
        }
    }

    /// Sends a response that the bridge made, whose memory is not counted yet.
    pub(super) fn send_own_answer(&mut self, mut answer: Message) {
        answer.count(&self.memory);
        self.send_answer(answer);
    }

    pub(super) fn send_answer(&mut self, answer: Message) {
        let request = answer.id().cloned();
        self.send_to_host(answer, request);
    }

    /// Answers a request with an error. Keeps a subscription instead if possible.
    pub(super) fn fail(&mut self, request: &Message, problem: &Problem) {
        if self.keep_subscription(request, problem) {
            return;
        }
        let name = self.server.name.as_str();
        let answer = match self.kind {
            SessionKind::Host if self.server.stand_in(request).is_some() => {
                stand_in::failed(request, &self.server.name, problem)
            }
            SessionKind::Host => problem::host_answer(request.id(), name, problem),
            // A user who tests a server knows its name.
            SessionKind::Probe => problem::answer(request.id(), name, problem),
        };
        self.send_answer(answer);
    }

    /// Returns the timeout of a request that only the server can answer. A server that has just
    /// responded may be restarting.
    pub(super) fn call_timeout(&self) -> RequestTimeout {
        let Timeouts {
            sign_in, server, ..
        } = self.timeouts;
        RequestTimeout {
            general: sign_in,
            unreachable: match self.server.has_just_answered() {
                true => sign_in,
                false => server,
            },
        }
    }

    /// Returns the timeout of `request`.
    pub(super) fn timeout_for(&self, request: &Message) -> RequestTimeout {
        match self.has_fallback(request) {
            true if self.server.lacks(request) => self.timeouts.list().into(),
            true => HANDSHAKE_WAIT.into(),
            false => self.call_timeout(),
        }
    }

    pub(super) fn show(&self, state: ServerState) {
        if self.server.set_state(state) {
            self.context.notifications.state_changed();
        }
    }
}

async fn asked(connection: &mut ConnectionState) -> (AfterToken, Authorized) {
    match connection {
        ConnectionState::Authorizing {
            pending_headers,
            next,
        } => (*next, pending_headers.await),
        ConnectionState::Idle
        | ConnectionState::Opening { .. }
        | ConnectionState::Live { .. }
        | ConnectionState::SignInNeeded { .. }
        | ConnectionState::Down { .. } => std::future::pending().await,
    }
}

async fn outcome(sign_in: &Option<OngoingSignIn>) -> SignInOutcome {
    match sign_in {
        Some(sign_in) => sign_in.outcome().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
