//! The host's requests, until each has its one answer.
//!
//! Invariant: a request is in `queued`, or in `pending`, or answered.

mod pending;

use std::collections::VecDeque;
use std::time::Duration;

use auth::Authorization;
use mcp::subscription::LISTEN;
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

pub(super) use pending::{PendingRequest, PendingRequests};

use crate::stand_in::StandIn;

/// How long a request waits before it is answered by us.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimeout {
    /// For a sign-in, or for a server that may still answer.
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

/// When a request is answered by us.
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

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitFor {
    /// The server.
    Server,
    /// A sign-in that allows more than the last one.
    Scopes,
}

/// A message that cannot be sent yet.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) message: Message,
    pub(super) wait_for: WaitFor,
    /// When a request is answered by us instead. A notification waits as long as it takes.
    pub(super) deadline: Option<Deadline>,
    /// Whether it is a request that was sent already, and must not be a third time.
    pub(super) again: bool,
    /// Whether a sign-in was begun or joined for it: no other one is begun.
    pub(super) signed_in: bool,
    /// The stand-in tool that it calls, if it calls one.
    pub(super) stand_in: Option<StandIn>,
    /// Whether it is answered in the server's place even at the server, if that keeps silent: it is
    /// sent without a handshake that shows the server.
    pub(super) has_fallback: bool,
}

impl QueuedMessage {
    /// Held back from now on; a request for `timeout` at most.
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

    /// Whether its deadline is over; `is_unreachable`, where the server cannot be reached.
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

/// How many messages may be held back before the host is left unread.
const MAX_QUEUED: usize = 1024;

/// What is held back, and what is out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) queued: VecDeque<QueuedMessage>,
    pub(super) pending: PendingRequests,
}

impl Outbox {
    /// Whether the host is owed nothing more.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.values().all(|pending| !pending.is_wanted())
            && self.queued.iter().all(|queued| queued.deadline.is_none())
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued.len() < MAX_QUEUED
    }

    /// Whether the host waits for an answer, other than that to a subscription, which comes with
    /// its end alone.
    pub(super) fn has_unanswered(&self) -> bool {
        let waits = |queued: &QueuedMessage| queued.deadline.is_some() && !queued.is_listen();
        self.pending.values().any(PendingRequest::is_wanted_call) || self.queued.iter().any(waits)
    }

    /// The calls of tools that wait, in order.
    pub(super) fn queued_calls(&self) -> impl Iterator<Item = &Message> {
        self.calls().map(|queued| &queued.message)
    }

    /// A sign-in is under way for all calls of tools that wait.
    pub(super) fn record_sign_in(&mut self) {
        let calls = self.queued.iter_mut().filter(|queued| queued.is_call());
        calls.for_each(|call| call.signed_in = true);
    }

    /// The same, with what they wait for.
    pub(super) fn calls(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.queued.iter().filter(|queued| queued.is_call())
    }

    /// Whether a request with this id has no answer yet.
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        let waits =
            |queued: &QueuedMessage| queued.deadline.is_some() && queued.message.id() == Some(id);
        self.pending.contains(id) || self.queued.iter().any(waits)
    }

    /// The request whose progress the server tells of on a stream that all requests share, as
    /// that of HTTP+SSE is: the host gave it the token that the notification repeats.
    pub(super) fn subject_of(&self, message: &Message) -> Option<RequestId> {
        if message.method() != Some("notifications/progress") {
            return None;
        }
        self.pending.with_token(&message.progress_token()?).cloned()
    }

    /// Forgets what only meant something to a session at the server that is gone.
    pub(super) fn drop_one_way(&mut self) {
        self.queued.retain(|queued| queued.deadline.is_some());
    }

    /// Holds a message back.
    pub(super) fn enqueue(&mut self, queued: QueuedMessage) {
        self.queued.push_back(queued);
    }

    /// Takes a request back from the server's side, to send it once more before anything else,
    /// once there is what it `wait_for`. If that was done already, the request is given back instead,
    /// to be answered.
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

    /// The same for one that never left: it waits on as if it had not been sent.
    pub(super) fn requeue_unsent(&mut self, id: &RequestId) {
        if let Some(pending) = self.pending.remove(id)
            && pending.is_wanted()
        {
            let deadline = pending.deadline;
            let queued = pending.into_queued(WaitFor::Server, deadline);
            self.queued.push_front(queued);
        }
    }

    /// Notes what is sent, if it is a request.
    pub(super) fn sent(&mut self, queued: QueuedMessage, authorization: Option<Authorization>) {
        if let Kind::Request { id, .. } = queued.message.kind() {
            let id = id.clone();
            self.pending.insert(id, queued, authorization);
        }
    }

    /// Takes out what waits for the server alone, in order.
    pub(super) fn take_ready(&mut self) -> VecDeque<QueuedMessage> {
        let (ready, stay) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition(|queued| queued.wait_for == WaitFor::Server);
        self.queued = stay;
        ready
    }

    /// There is more access now: what waited for that waits for the server alone. Says whether
    /// anything did.
    pub(super) fn release_for_scopes(&mut self) -> bool {
        let queued = self.queued.iter_mut();
        let queued = queued.filter(|queued| queued.wait_for == WaitFor::Scopes);
        queued
            .map(|queued| queued.wait_for = WaitFor::Server)
            .count()
            > 0
    }

    /// Forgets a request that the host no longer wants; says whether it was still here.
    pub(super) fn cancel(&mut self, id: &RequestId) -> bool {
        let before = self.queued.len();
        self.queued
            .retain(|queued| queued.message.method().is_none() || queued.message.id() != Some(id));
        self.queued.len() < before
    }

    /// Lets the requests for which `does` says so wait until `until`.
    pub(super) fn set_deadlines(&mut self, until: Instant, does: impl Fn(&Message) -> bool) {
        let requests = self.queued.iter_mut();
        let requests = requests.filter(|one| one.deadline.is_some() && does(&one.message));
        requests.for_each(|one| one.deadline = Some(Deadline::at(until)));
    }

    /// The earliest deadline of all that waits, and of all that is withdrawn; `is_unreachable`, where
    /// the server cannot be reached.
    pub(super) fn next_deadline(&self, is_unreachable: bool) -> Option<Instant> {
        let deadlines = self.queued.iter().filter_map(|queued| queued.deadline);
        let queued = deadlines.map(|deadline| deadline.instant(is_unreachable));
        queued.chain(self.pending.next_due()).min()
    }

    /// Takes out the requests for which `done` says so, in order.
    pub(super) fn take_if(&mut self, mut done: impl FnMut(&QueuedMessage) -> bool) -> Vec<Message> {
        let (out, stay) = std::mem::take(&mut self.queued)
            .into_iter()
            .partition::<VecDeque<_>, _>(|queued| queued.deadline.is_some() && done(queued));
        self.queued = stay;
        out.into_iter().map(|queued| queued.message).collect()
    }
}
