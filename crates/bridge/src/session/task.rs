//! The task that owns a session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use auth::{AccountKey, Authorization, TokenNumber};
use control::api::{Problem, ProblemKind, ServerState};
use mcp::memory::Account;
use mcp::up::{Upstream, UpstreamEvent, UpstreamOptions};
use mcp::{Message, RequestId};
use model::config::BridgeSettings;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::{AfterToken, Authorized, Backoff, ConnectionState, HostProtocol};
use super::elicitation::Elicitation;
use super::from_server::DelayedResult;
use super::outbox::{Outbox, RequestTimeout};
use super::subscriptions::Subscriptions;
use super::{CHANNEL_CAPACITY, HANDSHAKE_WAIT, HostMessage, SessionKind};
use crate::bridge_state::{BridgeState, Listing, PendingGuard, SessionGuard};
use crate::registry::Server;
use crate::sign_in::{ElicitationRequest, OngoingSignIn};
use crate::stand_in;
use crate::{headers, problem};

/// How often a server may refuse fresh tokens in a row before a person is asked.
pub(super) const MAX_REFUSALS: u32 = 2;

/// How long after the host's last word answers are still waited for: longer than a shim does.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a list over HTTP waits at most: some hosts give a remote server five seconds to start.
const MAX_HTTP_LIST_WAIT: Duration = Duration::from_secs(4);

/// Messages that wait for the host before it is left unread; the server is before that. The host is
/// also where their memory has no room for more.
const MAX_UNREAD: usize = 1024;

/// Everything that can happen to a session.
enum Event {
    /// The host sent a message, or will send nothing more.
    Host(Option<Message>),
    /// The host is gone.
    HostGone,
    /// The server did something.
    Server(UpstreamEvent),
    /// The token that was asked for, and what for.
    Authorized(AfterToken, Authorized),
    /// Somebody signed in or out somewhere.
    AccountsChanged,
    /// Some grant has got a new access token.
    Refreshed,
    /// The sign-in that this session wanted has ended.
    SignInEnded(Result<(), Problem>),
    /// The host is to be asked to show a page.
    Elicitation(ElicitationRequest),
    /// Nobody waits any longer for what the host was asked.
    ElicitationCancelled,
    /// The configuration has another server of this name now, or none.
    Replaced,
    /// The machine has slept.
    Resumed,
    /// Something is due.
    Timer,
    /// The bridge ends.
    Shutdown,
}

/// What is still to be expected of the host.
pub(super) enum HostInput {
    /// Anything.
    Open,
    /// Nothing; it waits for its answers, but not for longer than this.
    Ended { until: Instant },
    /// Nothing that counts: it gets what it is owed, and the session ends.
    Draining,
}

/// Ids for requests of our own, which no request of the host has: their answers are nobody's.
#[derive(Default)]
pub(super) struct OwnIds(u32);

impl OwnIds {
    pub(super) fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::string(&format!("postern-{}", self.0))
    }
}

pub(super) struct Task {
    pub(super) bridge: Arc<BridgeState>,
    pub(super) server: Arc<Server>,
    pub(super) kind: SessionKind,
    pub(super) host: HostInput,
    to_host: mpsc::Sender<HostMessage>,
    /// What the host has not taken yet. Nothing here ever waits for a host.
    unread: VecDeque<HostMessage>,
    /// What the messages to the host take memory from.
    pub(super) memory: Account,
    pub(super) session_guard: Option<SessionGuard>,
    /// Held while the host waits for something.
    pending_guard: Option<PendingGuard>,
    pub(super) up: Upstream,
    events: mpsc::Receiver<UpstreamEvent>,
    pub(super) connection: ConnectionState,
    /// Whose session there is at the server.
    pub(super) account: Option<AccountKey>,
    pub(super) protocol: HostProtocol,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Subscriptions,
    pub(super) delayed_result: Option<DelayedResult>,
    /// When a handshake that waits for the server is answered in its place.
    pub(super) handshake_deadline: Option<Instant>,
    pub(super) sign_in: Option<OngoingSignIn>,
    pub(super) elicitation: Elicitation,
    pub(super) backoff: Backoff,
    pub(super) refusals: u32,
    /// The token with which the server answered last.
    pub(super) accepted: Option<TokenNumber>,
    /// Whether the notification stream ended for want of a token.
    pub(super) listen_again: bool,
    pub(super) own_ids: OwnIds,
    pub(super) timeouts: Timeouts,
    /// Why the server cannot be reached, until something shows that it can be.
    pub(super) unreachable: Option<Problem>,
}

/// How long the requests of a host wait, as the settings said when the session began.
pub(super) struct Timeouts {
    /// For a sign-in.
    sign_in: Duration,
    /// For a server that cannot be reached.
    server: Duration,
    /// Lists of which nothing is known, for a server that may still answer or for a sign-in, from
    /// its beginning on.
    pub(super) lists: Duration,
}

impl Timeouts {
    fn from_settings(settings: &BridgeSettings, listing: &Listing) -> Self {
        let lists = Duration::from_secs(settings.list_wait_seconds);
        Self {
            sign_in: Duration::from_secs(settings.sign_in_wait_seconds),
            server: Duration::from_secs(settings.server_wait_seconds),
            lists: match listing {
                Listing::Stdio => lists,
                Listing::Stream { .. } | Listing::Persistent(_) | Listing::Single => {
                    lists.min(MAX_HTTP_LIST_WAIT)
                }
            },
        }
    }

    /// How long a list of which nothing is known waits for a server that may still answer.
    pub(super) fn list(&self) -> Duration {
        self.lists.max(HANDSHAKE_WAIT)
    }
}

pub(super) async fn run(
    bridge: Arc<BridgeState>,
    server: Arc<Server>,
    listing: Listing,
    kind: SessionKind,
    from_host: mpsc::Receiver<Message>,
    to_host: mpsc::Sender<HostMessage>,
    memory: Account,
) {
    let (up, events) = connect(&bridge, &server, &memory);
    let timeouts = Timeouts::from_settings(&bridge.settings(), &listing);
    let session_guard = (kind == SessionKind::Host).then(|| bridge.register(&server, listing));
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
        bridge,
        server,
        kind,
        to_host,
        session_guard,
    };
    task.drive(from_host).await;
    // The host need not wait until the server has heard that the session is over.
    task.into_upstream().close().await;
}

fn connect(
    bridge: &BridgeState,
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
    let up = Upstream::open(bridge.client.clone(), options, events_in);
    (up, events)
}

impl Task {
    async fn drive(&mut self, mut from_host: mpsc::Receiver<Message>) {
        let mut news = self.bridge.account_news();
        let mut refreshes = self.bridge.refreshes();
        let mut resumes = self.bridge.resumes();
        let (shutdown, to_host) = (self.bridge.shutdown.clone(), self.to_host.clone());
        while !self.is_over() {
            self.update_pending_guard();
            let due = self.next_due();
            let replaced = self.server.replaced.clone();
            // What is answered in the server's place takes memory as well.
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
                ended = ended(&mut self.sign_in) => Event::SignInEnded(ended),
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
                Event::Server(UpstreamEvent::Away(failure)) => self.on_away(&failure),
                Event::Server(UpstreamEvent::Back) => self.on_back(),
                Event::Server(UpstreamEvent::TokenRefused { used, challenge }) => {
                    self.on_token_refused(used.as_ref(), challenge.as_deref());
                }
                Event::Authorized(next, authorized) => self.on_authorized(next, authorized),
                Event::AccountsChanged => self.on_accounts_changed(),
                Event::Refreshed => self.on_refreshed(),
                Event::SignInEnded(ended) => self.on_sign_in_ended(ended),
                Event::Elicitation(request) => self.on_elicitation(request),
                Event::ElicitationCancelled => self.on_elicitation_cancelled(),
                Event::Replaced => self.on_replaced(),
                Event::Resumed => self.on_resume(),
                Event::Timer => self.on_timer(),
                Event::HostGone | Event::Shutdown => return,
            }
        }
    }

    /// Lets the hub know whether the host waits for something.
    fn update_pending_guard(&mut self) {
        let owes = self.awaits_handshake()
            || self.outbox.has_unanswered()
            || self.delayed_result.is_some()
            || !self.unread.is_empty();
        if owes != self.pending_guard.is_some() {
            self.pending_guard = owes.then(|| self.bridge.track_pending());
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

    /// Follows the configuration: to the server that took this one's place, or to the end.
    fn on_replaced(&mut self) {
        let successor = self.bridge.registry.successor(&self.server);
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
        let (up, events) = connect(&self.bridge, &self.server, &self.memory);
        let old = std::mem::replace(&mut self.up, up);
        self.events = events;
        self.bridge.spawn(old.close());
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

    /// Sends the host something, now or as soon as it takes it.
    pub(super) fn send_to_host(&mut self, message: Message, request: Option<RequestId>) {
        self.deliver(HostMessage {
            message,
            request,
            sent: None,
        });
    }

    pub(super) fn deliver(&mut self, told: HostMessage) {
        if !self.unread.is_empty() {
            self.unread.push_back(told);
        } else if let Err(TrySendError::Full(told)) = self.to_host.try_send(told) {
            self.unread.push_back(told);
        }
    }

    /// The same with an answer that was made here, whose memory does not count yet.
    pub(super) fn send_own_answer(&mut self, mut answer: Message) {
        answer.count(&self.memory);
        self.send_answer(answer);
    }

    pub(super) fn send_answer(&mut self, answer: Message) {
        let request = answer.id().cloned();
        self.send_to_host(answer, request);
    }

    /// Answers a request that `problem` stands in the way of.
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
            // Who tests a server knows its name.
            SessionKind::Probe => problem::answer(request.id(), name, problem),
        };
        self.send_answer(answer);
    }

    /// How long a request that only the server can answer waits from now on. A server that has
    /// just answered may be restarting.
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

    /// How long `request` waits from now on.
    pub(super) fn timeout_for(&self, request: &Message) -> RequestTimeout {
        match self.has_fallback(request) {
            true if self.server.lacks(request) => self.timeouts.list().into(),
            true => HANDSHAKE_WAIT.into(),
            false => self.call_timeout(),
        }
    }

    pub(super) fn show(&self, state: ServerState) {
        if self.server.set_state(state) {
            self.bridge.changed();
        }
    }
}

pub(super) fn header(authorization: &Option<Authorization>) -> Option<http::HeaderValue> {
    authorization
        .as_ref()
        .map(|authorization| authorization.header.clone())
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

async fn ended(sign_in: &mut Option<OngoingSignIn>) -> Result<(), Problem> {
    let Some(sign_in) = sign_in else {
        return std::future::pending().await;
    };
    let end = sign_in.until_end().await;
    end.unwrap_or_else(|| {
        Err(Problem::new(
            ProblemKind::SignInEnded,
            "the sign-in was abandoned",
        ))
    })
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
