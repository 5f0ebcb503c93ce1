//! The host's requests, until each has its response.
//!
//! Invariant: a request is in `queued`, in `pending`, or answered.

mod pending;

use std::collections::VecDeque;
use std::time::Duration;

use auth::Authorization;
use mcp::subscription::LISTEN;
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

pub(super) use pending::{PendingRequest, PendingRequests};

use crate::stand_in::StandIn;

/// How long a request waits before the bridge answers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimeout {
    /// For a sign-in, or for a server that may still respond.
    pub(super) general: Duration,
    /// For a server that cannot be reached.
    pub(super) unreachable: Duration,
}

impl From<Duration> for RequestTimeout {
    fn from(always: Duration) -> Self {
        Self {
            general: always,
            unreachable: always,
        }
    }
}

/// When the bridge answers a request itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    general: Instant,
    unreachable: Instant,
}

impl Deadline {
    fn after(timeout: RequestTimeout) -> Self {
        let now = Instant::now();
        Self {
            general: now + timeout.general,
            unreachable: now + timeout.unreachable,
        }
    }

    fn at(instant: Instant) -> Self {
        Self {
            general: instant,
            unreachable: instant,
        }
    }

    fn instant(self, is_unreachable: bool) -> Instant {
        match is_unreachable {
            true => self.unreachable,
            false => self.general,
        }
    }
}

/// What a queued message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitFor {
    /// The server.
    Server,
    /// A sign-in that grants more scopes.
    Scopes,
}

/// A message that cannot be sent yet.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) message: Message,
    pub(super) wait_for: WaitFor,
    /// When the bridge answers the request itself. A notification has no deadline.
    pub(super) deadline: Option<Deadline>,
    /// Whether the request was sent before, and must not be sent a third time.
    pub(super) again: bool,
    /// Whether a sign-in was begun or joined for it. No other one is begun.
    pub(super) signed_in: bool,
    /// The stand-in tool that it calls.
    pub(super) stand_in: Option<StandIn>,
    /// Whether the bridge answers it even if it was sent and the server stays silent: without a
    /// handshake nothing shows that the server is there.
    pub(super) has_fallback: bool,
}

impl QueuedMessage {
    /// Queues a message. A request waits for `timeout` at most.
    pub(super) fn new(message: Message, timeout: impl Into<RequestTimeout>) -> Self {
        let is_request = matches!(message.kind(), Kind::Request { .. });
        Self {
            message,
            wait_for: WaitFor::Server,
            deadline: is_request.then(|| Deadline::after(timeout.into())),
            again: false,
            signed_in: false,
            stand_in: None,
            has_fallback: false,
        }
    }

    /// Returns true if its deadline has passed. `is_unreachable` says that the server cannot be
    /// reached.
    pub(super) fn is_due(&self, now: Instant, is_unreachable: bool) -> bool {
        let deadline = self.deadline;
        deadline.is_some_and(|deadline| deadline.instant(is_unreachable) <= now)
    }

    pub(super) fn is_listen(&self) -> bool {
        self.message.method() == Some(LISTEN)
    }

    fn is_call(&self) -> bool {
        self.message.method() == Some("tools/call")
    }
}

/// The maximum of queued messages. The host is left unread beyond that.
const MAX_QUEUED: usize = 1024;

/// The queued and the pending requests.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) queued: VecDeque<QueuedMessage>,
    pub(super) pending: PendingRequests,
}

impl Outbox {
    /// Returns true if the host waits for no response.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.values().all(|pending| !pending.is_wanted())
            && self.queued.iter().all(|queued| queued.deadline.is_none())
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued.len() < MAX_QUEUED
    }

    /// Returns true if the host waits for a response other than that to a subscription, which comes
    /// only at its end.
    pub(super) fn has_unanswered(&self) -> bool {
        let waits = |queued: &QueuedMessage| queued.deadline.is_some() && !queued.is_listen();
        self.pending.values().any(PendingRequest::is_wanted_call) || self.queued.iter().any(waits)
    }

    /// Returns the queued tool calls, in order.
    pub(super) fn queued_calls(&self) -> impl Iterator<Item = &Message> {
        self.calls().map(|queued| &queued.message)
    }

    /// Records that a sign-in was begun or joined for all queued tool calls.
    pub(super) fn record_sign_in(&mut self) {
        let calls = self.queued.iter_mut().filter(|queued| queued.is_call());
        calls.for_each(|call| call.signed_in = true);
    }

    /// Returns the queued tool calls with what they wait for.
    pub(super) fn calls(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.queued.iter().filter(|queued| queued.is_call())
    }

    /// Returns true if a request with this id has no response yet.
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        let waits =
            |queued: &QueuedMessage| queued.deadline.is_some() && queued.message.id() == Some(id);
        self.pending.contains(id) || self.queued.iter().any(waits)
    }

    /// Returns the request that a progress notification belongs to, by its progress token. Needed
    /// on a stream that all requests share, as in HTTP+SSE.
    pub(super) fn subject_of(&self, message: &Message) -> Option<RequestId> {
        if message.method() != Some("notifications/progress") {
            return None;
        }
        self.pending.with_token(&message.progress_token()?).cloned()
    }

    /// Drops messages without a response: they only had a meaning to the lost session at the
    /// server.
    pub(super) fn drop_one_way(&mut self) {
        self.queued.retain(|queued| queued.deadline.is_some());
    }

    /// Adds a message to the queue.
    pub(super) fn enqueue(&mut self, queued: QueuedMessage) {
        self.queued.push_back(queued);
    }

    /// Requeues a pending request in front of all others. It is sent once more when there is what
    /// it waits for. Returns the request instead if it was sent twice already, and must be
    /// answered.
    pub(super) fn requeue(
        &mut self,
        id: &RequestId,
        wait_for: WaitFor,
        timeout: RequestTimeout,
    ) -> Option<PendingRequest> {
        let pending = self.pending.remove(id)?;
        if !pending.is_wanted() {
            return None;
        }
        if pending.again {
            return Some(pending);
        }
        let deadline = Some(Deadline::after(timeout));
        self.queued.push_front(QueuedMessage {
            again: true,
            ..pending.into_queued(wait_for, deadline)
        });
        None
    }

    /// Requeues a request that never reached the server, with its old deadline.
    pub(super) fn requeue_unsent(&mut self, id: &RequestId) {
        if let Some(pending) = self.pending.remove(id)
            && pending.is_wanted()
        {
            let deadline = pending.deadline;
            let queued = pending.into_queued(WaitFor::Server, deadline);
            self.queued.push_front(queued);
        }
    }

    /// Records a sent message, if it is a request.
    pub(super) fn sent(&mut self, queued: QueuedMessage, authorization: Option<Authorization>) {
        if let Kind::Request { id, .. } = queued.message.kind() {
            let id = id.clone();
            self.pending.insert(id, queued, authorization);
        }
    }

    /// Takes the messages that wait for the server only, in order.
    pub(super) fn take_ready(&mut self) -> VecDeque<QueuedMessage> {
        let (ready, stay) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition(|queued| queued.wait_for == WaitFor::Server);
        self.queued = stay;
        ready
    }

    /// More scopes are granted: messages that waited for them now wait for the server only. Returns
    /// true if there were any.
    pub(super) fn release_for_scopes(&mut self) -> bool {
        let queued = self.queued.iter_mut();
        let queued = queued.filter(|queued| queued.wait_for == WaitFor::Scopes);
        queued
            .map(|queued| queued.wait_for = WaitFor::Server)
            .count()
            > 0
    }

    /// Drops a queued request that the host has cancelled. Returns true if it was queued.
    pub(super) fn cancel(&mut self, id: &RequestId) -> bool {
        let before = self.queued.len();
        self.queued
            .retain(|queued| queued.message.method().is_none() || queued.message.id() != Some(id));
        self.queued.len() < before
    }

    /// Sets the deadline of the requests for which `does` returns true.
    pub(super) fn set_deadlines(&mut self, until: Instant, does: impl Fn(&Message) -> bool) {
        let requests = self.queued.iter_mut();
        let requests = requests.filter(|one| one.deadline.is_some() && does(&one.message));
        requests.for_each(|one| one.deadline = Some(Deadline::at(until)));
    }

    /// Returns the earliest deadline of all queued and cancelled requests. `is_unreachable` says
    /// that the server cannot be reached.
    pub(super) fn next_deadline(&self, is_unreachable: bool) -> Option<Instant> {
        let deadlines = self.queued.iter().filter_map(|queued| queued.deadline);
        let queued = deadlines.map(|deadline| deadline.instant(is_unreachable));
        queued.chain(self.pending.next_due()).min()
    }

    /// Takes the requests for which `done` returns true, in order.
    pub(super) fn take_if(&mut self, mut done: impl FnMut(&QueuedMessage) -> bool) -> Vec<Message> {
        let (out, stay) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition::<VecDeque<_>, _>(|queued| queued.deadline.is_some() && done(queued));
        self.queued = stay;
        out.into_iter().map(|queued| queued.message).collect()
    }
}
