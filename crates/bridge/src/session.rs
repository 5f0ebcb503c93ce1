//! One host's conversation with one server.
//!
//! Owns: what is sent on, what is held back, what is answered in the server's place, and that
//! every request of the host is answered once. One task owns a session and takes one closed enum
//! of events; a refused token or a lost server is an event, not an error.
//! Does not own: how bytes reach the host (`face`), or the server (`mcp::up`).
//!
//! Rules, where the specification is silent:
//! - A handshake waits [`HANDSHAKE_WAIT`] for the server, then it is answered with what was last
//!   seen of it, or with the least that keeps a host going; lists and subscriptions likewise. Once
//!   the server is live, `list_changed` follows.
//! - A list of which nothing is known waits as long as the settings say: for the server, unless that
//!   cannot be reached, and for a sign-in that this session began or joined, from its beginning on.
//!   Then a list of tools has one stand-in tool, which signs in or connects again.
//! - Any other request waits for a sign-in or for the server, as long as the settings say for each,
//!   and then fails with an error that says what to do.
//! - A request that the server may have seen is never sent twice. One that it has refused
//!   unprocessed (401, 404 for the session) is, once; one that never reached it is, for as long as
//!   its host would wait.
//! - A host that can show a page is asked to show that of a sign-in: during a call, or once its
//!   handshake is done. No browser is opened for it then.
//! - A call starts one sign-in at most for 401, whatever comes of it. Where the server refuses what
//!   a sign-in has brought, none starts by itself before a person has asked for one.
//! - A call that is refused for want of scopes (403) that the last sign-in did not ask for is likewise
//!   made once more, after one that does. Until one has helped, no more than a few follow by
//!   themselves.
//! - A session that needs a sign-in asks for a token again with each request of the host, as far as
//!   the token endpoint is not left alone just now, and as soon as another session has got one.
//! - A server that cannot be reached, or is not ready again, keeps its session, if that has an id:
//!   it is asked by `ping` whether it is there, and only a new session takes a new handshake.

mod connection;
mod elicitation;
mod fallback;
mod from_host;
mod from_server;
mod outbox;
mod step_up;
mod subscriptions;
mod task;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use mcp::memory::Account;
use mcp::{Message, RequestId};
use tokio::sync::mpsc;

use crate::bridge_state::{BridgeState, Listing};
use crate::registry::Server;
use crate::sign_in::SentAt;

/// How long a handshake waits for the server. Hosts give up after 30 to 60 seconds.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);

/// How long the server may take to answer a handshake, or whether it is there again, before it is
/// begun with anew. Some have to be woken up first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the server may still answer a request that the host has cancelled: many say then
/// that they were cancelled, and some say nothing ever.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages under way in each direction before the sender has to wait.
const CHANNEL_CAPACITY: usize = 64;

/// What a session sends to its host.
#[derive(Clone, Debug)]
pub(crate) struct HostMessage {
    pub(crate) message: Message,
    /// The request of the host that this answers, or that it belongs to.
    pub(crate) request: Option<RequestId>,
    /// Set anew when the message goes out later than it was sent here.
    pub(crate) sent: Option<SentAt>,
}

/// On whose behalf a session exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// A host's: patient, answered in the server's place, may ask a person to sign in.
    Host,
    /// A test's: what the server cannot answer now fails at once, and nobody is asked anything.
    Probe,
}

/// The host's end of a session. Dropping `to` says that the host will send nothing more; the
/// session then delivers what it owes and ends. Dropping `from` ends it at once.
#[derive(Debug)]
pub(crate) struct HostChannel {
    pub(crate) to: mpsc::Sender<Message>,
    pub(crate) from: mpsc::Receiver<HostMessage>,
    /// What the messages to the host take memory from.
    pub(crate) memory: Account,
}

/// Starts a session.
pub(crate) fn start(
    bridge: &Arc<BridgeState>,
    server: Arc<Server>,
    listing: Listing,
    kind: SessionKind,
) -> HostChannel {
    let (to, from_host) = mpsc::channel(CHANNEL_CAPACITY);
    let (to_host, from) = mpsc::channel(CHANNEL_CAPACITY);
    let memory = bridge.to_hosts.account();
    bridge.spawn(task::run(
        Arc::clone(bridge),
        server,
        listing,
        kind,
        from_host,
        to_host,
        memory.clone(),
    ));
    HostChannel { to, from, memory }
}
