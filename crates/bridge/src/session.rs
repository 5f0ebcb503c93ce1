//! The session between one host and one server.
//!
//! Owns: what is sent, what is queued, what the bridge answers for the server, and that every
//! request of the host gets one response. One task owns a session and handles one closed enum of
//! events. A rejected token or a lost server is an event, not an error. Does not own: how bytes
//! reach the host (`endpoint`), or the server (`mcp::upstream`).
//!
//! A request of the host enters in `from_host`, waits in `outbox`, and ends in `task` (`fail`) or
//! with the server's response in `from_server`. `tokens` gets the headers and asks for a sign-in,
//! `fallback` answers in place of the server, `step_up` handles missing scopes.
//!
//! Rules where the specification is silent:
//! - A handshake waits [`HANDSHAKE_WAIT`] for the server. Then it is answered from the cache, or
//!   with the minimum that a host needs. Lists and subscriptions likewise. Once the server is live,
//!   `list_changed` follows.
//! - A list that is not cached waits as long as the settings say: for the server, unless that is
//!   unreachable, and for a sign-in that this session began or joined, from its start on. Then a
//!   list of tools has one stand-in tool, which signs in or reconnects.
//! - Any other request waits for a sign-in or for the server, as long as the settings say for each.
//!   Then it fails with an error that says what to do.
//! - A request that the server may have processed is never sent twice. One that it has rejected
//!   unprocessed (401, or 404 for the session) is sent once more. One that never reached the server
//!   is retried for as long as its host would wait.
//! - A host that can show pages is asked to show the sign-in page, during a call or after its
//!   handshake. No browser is opened for it then.
//! - A call starts at most one sign-in for 401, whatever its result. If the server rejects the
//!   tokens of a sign-in, none starts by itself before the user has asked for one.
//! - A call that fails for missing scopes (403) that the last sign-in did not request is sent once
//!   more after a sign-in that does. Until one has helped, no more than a few follow by themselves.
//! - A session that needs a sign-in asks for a token again with each request of the host, unless
//!   the token endpoint is being left alone, and as soon as another session has obtained one.
//! - A session with an id survives that its server cannot be reached or is not ready. The bridge
//!   sends `ping` to find out whether the server is back. Only a new session needs a new handshake.

mod connection;
mod context;
mod elicitation;
mod fallback;
mod from_host;
mod from_server;
mod outbox;
mod step_up;
mod subscriptions;
mod task;
mod timeouts;
mod tokens;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use auth::{AccountKey, TokenNumber};
use control::api::Problem;
use mcp::memory::Account;
use mcp::upstream::{Upstream, UpstreamEvent};
use mcp::{Message, RequestId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::pending_sign_ins::{OngoingSignIn, SentAt};
use crate::registry::Server;
use crate::session_registry::{Listing, PendingGuard, SessionGuard};
use connection::{Backoff, ConnectionState, HostProtocol};
pub(crate) use context::SessionContext;
use elicitation::Elicitation;
use from_server::DelayedResult;
use outbox::Outbox;
use subscriptions::Subscriptions;
use timeouts::Timeouts;

/// How long a handshake waits for the server. Hosts give up after 30 to 60 seconds.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);

/// How long the server may take to answer a handshake or `ping` before the connection is restarted.
/// Some servers have to start first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server may still respond to a request that the host has cancelled. Many servers
/// then confirm the cancellation, some never respond.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a server may reject fresh tokens in a row before the user is asked.
const MAX_REFUSALS: u32 = 2;

/// The capacity of each direction. The sender waits when it is full.
const CHANNEL_CAPACITY: usize = 64;

/// A message of the session to its host.
#[derive(Clone, Debug)]
pub(crate) struct HostMessage {
    pub(crate) message: Message,
    /// The host's request that this answers or belongs to.
    pub(crate) request: Option<RequestId>,
    /// Set again if the message goes out later than it was sent here.
    pub(crate) sent: Option<SentAt>,
}

/// The kind of client that a session serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// A host. Its requests wait, are answered by the bridge, and may start a sign-in.
    Host,
    /// A connection test. Fails immediately, and never starts a sign-in.
    Probe,
}

/// The host's end of a session. After `to` is dropped, the session delivers the pending responses
/// and ends. Dropping `from` ends it at once.
#[derive(Debug)]
pub(crate) struct HostChannel {
    pub(crate) to: mpsc::Sender<Message>,
    pub(crate) from: mpsc::Receiver<HostMessage>,
    /// The memory of messages to the host.
    pub(crate) memory: Account,
}

/// Starts a session.
pub(crate) fn start(
    context: &Arc<SessionContext>,
    server: Arc<Server>,
    listing: Listing,
    kind: SessionKind,
) -> HostChannel {
    let (to, from_host) = mpsc::channel(CHANNEL_CAPACITY);
    let (to_host, from) = mpsc::channel(CHANNEL_CAPACITY);
    let memory = context.to_hosts.account();
    context.background.spawn(task::run(
        Arc::clone(context),
        server,
        listing,
        kind,
        from_host,
        to_host,
        memory.clone(),
    ));
    HostChannel { to, from, memory }
}

/// A session. Its task owns it, and each module below handles one kind of event.
struct Task {
    context: Arc<SessionContext>,
    server: Arc<Server>,
    kind: SessionKind,
    host: HostInput,
    to_host: mpsc::Sender<HostMessage>,
    /// Messages that the host has not taken yet. The task never waits for a host.
    unread: VecDeque<HostMessage>,
    /// The memory of messages to the host.
    memory: Account,
    session_guard: Option<SessionGuard>,
    /// Held while the host waits for a response.
    pending_guard: Option<PendingGuard>,
    up: Upstream,
    events: mpsc::Receiver<UpstreamEvent>,
    connection: ConnectionState,
    /// The account of the session at the server.
    account: Option<AccountKey>,
    protocol: HostProtocol,
    outbox: Outbox,
    subscriptions: Subscriptions,
    delayed_result: Option<DelayedResult>,
    /// When the bridge answers a waiting handshake itself.
    handshake_deadline: Option<Instant>,
    sign_in: Option<OngoingSignIn>,
    elicitation: Elicitation,
    backoff: Backoff,
    refusals: u32,
    /// The token of the server's last response.
    accepted: Option<TokenNumber>,
    /// Whether the notification stream ended for lack of a token.
    listen_again: bool,
    own_ids: OwnIds,
    timeouts: Timeouts,
    /// Why the server cannot be reached, until it shows that it can be.
    unreachable: Option<Problem>,
}

/// What the host may still send.
enum HostInput {
    /// Anything.
    Open,
    /// Nothing. It waits for its responses until then.
    Ended { until: Instant },
    /// Nothing that is handled. It gets the queued messages, and the session ends.
    Draining,
}

/// Ids for requests of the bridge, different from all ids of the host. Their responses are dropped.
#[derive(Default)]
struct OwnIds(u32);

impl OwnIds {
    fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::string(&format!("postern-{}", self.0))
    }
}
