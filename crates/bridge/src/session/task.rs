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

use super::connection::{Authorized, Backoff, Link, Next, Speech};
use super::elicitation::Elicitation;
use super::from_server::Late;
use super::outbox::{Outbox, Patience};
use super::subscriptions::Subscriptions;
use super::{DEPTH, FIRST_CONTACT, Manner, ToHost};
use crate::bridge_state::{Hub, Listing, Owing, Registered};
use crate::registry::Server;
use crate::sign_in::{Awaited, Question};
use crate::stand_in;
use crate::{headers, problem};

/// How often a server may refuse fresh tokens in a row before a person is asked.
pub(super) const REFUSALS: u32 = 2;

/// How long after the host's last word answers are still waited for: longer than a shim does.
const DRAIN: Duration = Duration::from_secs(150);

/// How long a list over HTTP waits at most: some hosts give a remote server five seconds to start.
const MAX_HTTP_LISTS: Duration = Duration::from_secs(4);

/// Messages that wait for the host before it is left unread; the server is before that. The host is
/// also where their memory has no room for more.
const MOST_UNREAD: usize = 1024;

/// Everything that can happen to a session.
enum Event {
    /// The host sent a message, or will send nothing more.
    Host(Option<Message>),
    /// The host is gone.
    HostGone,
    /// The server did something.
    Server(UpstreamEvent),
    /// The token that was asked for, and what for.
    Authorized(Next, Authorized),
    /// Somebody signed in or out somewhere.
    AccountsChanged,
    /// Some grant has got a new access token.
    Refreshed,
    /// The sign-in that this session wanted has ended.
    SignInEnded(Result<(), Problem>),
    /// The host is to be asked to show a page.
    Question(Question),
    /// Nobody waits any longer for what the host was asked.
    Withdrawn,
    /// The configuration has another server of this name now, or none.
    Replaced,
    /// The machine has slept.
    Woke,
    /// Something is due.
    Timer,
    /// The bridge ends.
    Shutdown,
}

/// What is still to be expected of the host.
pub(super) enum HostEnd {
    /// Anything.
    Open,
    /// Nothing; it waits for its answers, but not for longer than this.
    Done { until: Instant },
    /// Nothing that counts: it gets what it is owed, and the session ends.
    Dismissed,
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
    pub(super) hub: Arc<Hub>,
    pub(super) server: Arc<Server>,
    pub(super) manner: Manner,
    pub(super) host: HostEnd,
    to_host: mpsc::Sender<ToHost>,
    /// What the host has not taken yet. Nothing here ever waits for a host.
    unread: VecDeque<ToHost>,
    /// What the messages to the host take memory from.
    pub(super) memory: Account,
    pub(super) shown: Option<Registered>,
    /// Held while the host waits for something.
    owing: Option<Owing>,
    pub(super) up: Upstream,
    events: mpsc::Receiver<UpstreamEvent>,
    pub(super) link: Link,
    /// Whose session there is at the server.
    pub(super) account: Option<AccountKey>,
    pub(super) speech: Speech,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Subscriptions,
    pub(super) late: Option<Late>,
    /// When a handshake that waits for the server is answered in its place.
    pub(super) contact: Option<Instant>,
    pub(super) sign_in: Option<Awaited>,
    pub(super) elicitation: Elicitation,
    pub(super) backoff: Backoff,
    pub(super) refusals: u32,
    /// The token with which the server answered last.
    pub(super) accepted: Option<TokenNumber>,
    /// Whether the notification stream ended for want of a token.
    pub(super) listen_again: bool,
    pub(super) own_ids: OwnIds,
    pub(super) waits: Waits,
    /// Why the server cannot be reached, until something shows that it can be.
    pub(super) unreachable: Option<Problem>,
}

/// How long the requests of a host wait, as the settings said when the session began.
pub(super) struct Waits {
    /// For a sign-in.
    sign_in: Duration,
    /// For a server that cannot be reached.
    server: Duration,
    /// Lists of which nothing is known, for a server that may still answer or for a sign-in, from
    /// its beginning on.
    pub(super) lists: Duration,
}

impl Waits {
    fn from_settings(settings: &BridgeSettings, listing: &Listing) -> Self {
        let lists = Duration::from_secs(settings.list_wait_seconds);
        Self {
            sign_in: Duration::from_secs(settings.sign_in_wait_seconds),
            server: Duration::from_secs(settings.server_wait_seconds),
            lists: match listing {
                Listing::Stdio => lists,
                Listing::Stream { .. } | Listing::Kept(_) | Listing::Single => {
                    lists.min(MAX_HTTP_LISTS)
                }
            },
        }
    }

    /// How long a list of which nothing is known waits for a server that may still answer.
    pub(super) fn list(&self) -> Duration {
        self.lists.max(FIRST_CONTACT)
    }
}

pub(super) async fn run(
    hub: Arc<Hub>,
    server: Arc<Server>,
    listing: Listing,
    manner: Manner,
    from_host: mpsc::Receiver<Message>,
    to_host: mpsc::Sender<ToHost>,
    memory: Account,
) {
    let (up, events) = connect(&hub, &server, &memory);
    let waits = Waits::from_settings(&hub.settings(), &listing);
    let shown = (manner == Manner::Host).then(|| hub.register(&server, listing));
    let mut task = Task {
        up,
        events,
        waits,
        unreachable: None,
        host: HostEnd::Open,
        unread: VecDeque::new(),
        memory,
        owing: None,
        link: Link::Idle,
        account: None,
        speech: Speech::Silent,
        outbox: Outbox::default(),
        subscriptions: Subscriptions::default(),
        late: None,
        contact: None,
        sign_in: None,
        elicitation: Elicitation::default(),
        backoff: Backoff::default(),
        refusals: 0,
        accepted: None,
        listen_again: false,
        own_ids: OwnIds::default(),
        hub,
        server,
        manner,
        to_host,
        shown,
    };
    task.drive(from_host).await;
    // The host need not wait until the server has heard that the session is over.
    task.into_upstream().close().await;
}

fn connect(
    hub: &Hub,
    server: &Server,
    memory: &Account,
) -> (Upstream, mpsc::Receiver<UpstreamEvent>) {
    let (events_in, events) = mpsc::channel(DEPTH);
    let options = UpstreamOptions {
        url: server.config.url.clone(),
        transport: server.config.transport,
        headers: headers::constant(server).unwrap_or_default(),
        learned: Arc::clone(&server.learned),
        nonce: Uuid::new_v4().simple().to_string().into(),
        memory: memory.clone(),
    };
    let up = Upstream::open(hub.client.clone(), options, events_in);
    (up, events)
}

impl Task {
    async fn drive(&mut self, mut from_host: mpsc::Receiver<Message>) {
        let mut news = self.hub.account_news();
        let mut refreshes = self.hub.refreshes();
        let mut wakes = self.hub.wakes();
        let (shutdown, to_host) = (self.hub.shutdown.clone(), self.to_host.clone());
        while !self.is_over() {
            self.note_owing();
            let due = self.next_due();
            let replaced = self.server.replaced.clone();
            // What is answered in the server's place takes memory as well.
            let (has_room, memory) = (self.memory.has_room(), self.memory.clone());
            let hears = matches!(self.host, HostEnd::Open)
                && self.outbox.has_room()
                && self.unread.len() < MOST_UNREAD
                && has_room;
            let event = tokio::select! {
                message = from_host.recv(), if hears => Event::Host(message),
                Ok(room) = to_host.reserve(), if !self.unread.is_empty() => {
                    if let Some(message) = self.unread.pop_front() {
                        room.send(message);
                    }
                    continue;
                }
                Some(event) = self.events.recv(), if self.unread.len() < DEPTH => Event::Server(event),
                () = memory.room(), if !has_room => continue,
                (next, authorized) = asked(&mut self.link) => Event::Authorized(next, authorized),
                ended = ended(&mut self.sign_in) => Event::SignInEnded(ended),
                asked = self.elicitation.next() => match asked {
                    Some(question) => Event::Question(question),
                    None => Event::Withdrawn,
                },
                Ok(()) = news.changed() => Event::AccountsChanged,
                Ok(()) = refreshes.changed() => Event::Refreshed,
                Ok(()) = wakes.changed() => Event::Woke,
                () = replaced.cancelled(), if !matches!(self.host, HostEnd::Dismissed) => Event::Replaced,
                () = until(due) => Event::Timer,
                () = to_host.closed() => Event::HostGone,
                () = shutdown.cancelled() => Event::Shutdown,
            };
            match event {
                Event::Host(Some(message)) => self.on_host(message),
                Event::Host(None) => {
                    let until = Instant::now() + DRAIN;
                    self.host = HostEnd::Done { until };
                    self.end_subscriptions();
                    self.end_questions();
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
                Event::Question(question) => self.on_question(question),
                Event::Withdrawn => self.on_withdrawn(),
                Event::Replaced => self.on_replaced(),
                Event::Woke => self.on_woke(),
                Event::Timer => self.on_timer(),
                Event::HostGone | Event::Shutdown => return,
            }
        }
    }

    /// Lets the hub know whether the host waits for something.
    fn note_owing(&mut self) {
        let owes = self.awaits_handshake()
            || self.outbox.owes_answers()
            || self.late.is_some()
            || !self.unread.is_empty();
        if owes != self.owing.is_some() {
            self.owing = owes.then(|| self.hub.owe());
        }
    }

    fn into_upstream(self) -> Upstream {
        self.up
    }

    fn is_over(&self) -> bool {
        let is_delivered = self.unread.is_empty();
        match self.host {
            HostEnd::Open => false,
            HostEnd::Done { until } => {
                let is_settled =
                    self.outbox.is_settled() && !self.awaits_handshake() && self.late.is_none();
                until <= Instant::now() || (is_settled && is_delivered)
            }
            HostEnd::Dismissed => is_delivered,
        }
    }

    /// Follows the configuration: to the server that took this one's place, or to the end.
    fn on_replaced(&mut self) {
        let successor = self.hub.registry.successor(&self.server);
        if let Some(next) = &successor
            && next.config == self.server.config
        {
            self.server = Arc::clone(next);
            return;
        }
        let problem = problem::replaced(successor.is_some());
        self.suspend_subscriptions();
        for owed in self.outbox.owed.take_all() {
            if owed.is_wanted() {
                self.fail(&owed.message, &problem);
            }
        }
        match successor {
            Some(next) => self.move_to(next),
            None => self.dismiss(&problem),
        }
    }

    fn move_to(&mut self, server: Arc<Server>) {
        self.server = server;
        let (up, events) = connect(&self.hub, &self.server, &self.memory);
        let old = std::mem::replace(&mut self.up, up);
        self.events = events;
        self.hub.spawn(old.close());
        self.account = None;
        self.accepted = None;
        self.unreachable = None;
        self.backoff.reset();
        match &mut self.speech {
            Speech::Silent => self.link = Link::Idle,
            Speech::Modern => self.ask(Next::Open),
            Speech::Legacy(handshake) => {
                handshake.stale = true;
                self.ask(Next::Open);
            }
        }
    }

    fn dismiss(&mut self, problem: &Problem) {
        if let Speech::Legacy(handshake) = &mut self.speech
            && !std::mem::replace(&mut handshake.answered, true)
        {
            let initialize = handshake.initialize.clone();
            self.fail(&initialize, problem);
        }
        let subscriptions = self.subscriptions.take_all();
        for message in self.outbox.take_if(|_| true).iter().chain(&subscriptions) {
            self.fail(message, problem);
        }
        self.host = HostEnd::Dismissed;
    }

    /// Sends the host something, now or as soon as it takes it.
    pub(super) fn tell(&mut self, message: Message, request: Option<RequestId>) {
        self.deliver(ToHost {
            message,
            request,
            sent: None,
        });
    }

    pub(super) fn deliver(&mut self, told: ToHost) {
        if !self.unread.is_empty() {
            self.unread.push_back(told);
        } else if let Err(TrySendError::Full(told)) = self.to_host.try_send(told) {
            self.unread.push_back(told);
        }
    }

    /// The same with an answer that was made here, whose memory does not count yet.
    pub(super) fn tell_made(&mut self, mut answer: Message) {
        answer.count(&self.memory);
        self.tell_answer(answer);
    }

    pub(super) fn tell_answer(&mut self, answer: Message) {
        let request = answer.id().cloned();
        self.tell(answer, request);
    }

    /// Answers a request that `problem` stands in the way of.
    pub(super) fn fail(&mut self, request: &Message, problem: &Problem) {
        if self.keep_subscription(request, problem) {
            return;
        }
        let name = self.server.name.as_str();
        let answer = match self.manner {
            Manner::Host if self.server.stand_in(request).is_some() => {
                stand_in::failed(request, &self.server.name, problem)
            }
            Manner::Host => problem::host_answer(request.id(), name, problem),
            // Who tests a server knows its name.
            Manner::Probe => problem::answer(request.id(), name, problem),
        };
        self.tell_answer(answer);
    }

    /// How long a request that only the server can answer waits from now on. A server that has
    /// just answered may be restarting.
    pub(super) fn patience(&self) -> Patience {
        let Waits {
            sign_in, server, ..
        } = self.waits;
        Patience {
            in_general: sign_in,
            unreachable: match self.server.has_just_answered() {
                true => sign_in,
                false => server,
            },
        }
    }

    /// How long `request` waits from now on.
    pub(super) fn patience_of(&self, request: &Message) -> Patience {
        match self.is_answered_in_place(request) {
            true if self.server.lacks(request) => self.waits.list().into(),
            true => FIRST_CONTACT.into(),
            false => self.patience(),
        }
    }

    pub(super) fn show(&self, state: ServerState) {
        if self.server.set_state(state) {
            self.hub.changed();
        }
    }
}

pub(super) fn header(authorization: &Option<Authorization>) -> Option<http::HeaderValue> {
    authorization
        .as_ref()
        .map(|authorization| authorization.header.clone())
}

async fn asked(link: &mut Link) -> (Next, Authorized) {
    match link {
        Link::Asking { asking, next } => (*next, asking.await),
        Link::Idle
        | Link::Opening { .. }
        | Link::Live { .. }
        | Link::SignInNeeded { .. }
        | Link::Down { .. } => std::future::pending().await,
    }
}

async fn ended(sign_in: &mut Option<Awaited>) -> Result<(), Problem> {
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
