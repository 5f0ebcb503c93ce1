//! The host's requests, until each has its one answer.
//!
//! Invariant: a request is in `waiting`, or in `owed`, or answered.

mod pending;

use std::collections::VecDeque;
use std::time::Duration;

use auth::Authorization;
use mcp::subscription::LISTEN;
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

pub(super) use pending::{Owed, PendingRequests};

use crate::stand_in::StandIn;

/// How long a request waits before it is answered by us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a sign-in, or for a server that may still answer.
    pub(super) in_general: Duration,
    /// For a server that cannot be reached.
    pub(super) unreachable: Duration,
}

impl From<Duration> for Patience {
    fn from(always: Duration) -> Self {
        Self {
            in_general: always,
            unreachable: always,
        }
    }
}

/// When a request is answered by us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    in_general: Instant,
    unreachable: Instant,
}

impl Deadline {
    fn after(patience: Patience) -> Self {
        let now = Instant::now();
        Self {
            in_general: now + patience.in_general,
            unreachable: now + patience.unreachable,
        }
    }

    fn at(instant: Instant) -> Self {
        Self {
            in_general: instant,
            unreachable: instant,
        }
    }

    fn instant(self, is_unreachable: bool) -> Instant {
        match is_unreachable {
            true => self.unreachable,
            false => self.in_general,
        }
    }
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The server.
    Server,
    /// A sign-in that allows more than the last one.
    Access,
}

/// A message that cannot be sent yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    pub(super) awaits: Awaits,
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
    pub(super) in_place: bool,
}

impl Waiting {
    /// Held back from now on; a request for `patience` at most.
    pub(super) fn new(message: Message, patience: impl Into<Patience>) -> Self {
        let is_request = matches!(message.kind(), Kind::Request { .. });
        Self {
            message,
            awaits: Awaits::Server,
            deadline: is_request.then(|| Deadline::after(patience.into())),
            again: false,
            signed_in: false,
            stand_in: None,
            in_place: false,
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
const ROOM: usize = 1024;

/// What is held back, and what is out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) owed: PendingRequests,
}

impl Outbox {
    /// Whether the host is owed nothing more.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.values().all(|owed| !owed.is_wanted())
            && self
                .waiting
                .iter()
                .all(|waiting| waiting.deadline.is_none())
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < ROOM
    }

    /// Whether the host waits for an answer, other than that to a subscription, which comes with
    /// its end alone.
    pub(super) fn owes_answers(&self) -> bool {
        let waits = |waiting: &Waiting| waiting.deadline.is_some() && !waiting.is_listen();
        self.owed.values().any(Owed::is_wanted_call) || self.waiting.iter().any(waits)
    }

    /// The calls of tools that wait, in order.
    pub(super) fn waiting_calls(&self) -> impl Iterator<Item = &Message> {
        self.calls().map(|waiting| &waiting.message)
    }

    /// A sign-in is under way for all calls of tools that wait.
    pub(super) fn note_sign_in(&mut self) {
        let calls = self.waiting.iter_mut().filter(|waiting| waiting.is_call());
        calls.for_each(|call| call.signed_in = true);
    }

    /// The same, with what they wait for.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().filter(|waiting| waiting.is_call())
    }

    /// Whether a request with this id has no answer yet.
    pub(super) fn knows(&self, id: &RequestId) -> bool {
        let waits =
            |waiting: &Waiting| waiting.deadline.is_some() && waiting.message.id() == Some(id);
        self.owed.contains(id) || self.waiting.iter().any(waits)
    }

    /// The request whose progress the server tells of on a stream that all requests share, as
    /// that of HTTP+SSE is: the host gave it the token that the notification repeats.
    pub(super) fn subject_of(&self, message: &Message) -> Option<RequestId> {
        if message.method() != Some("notifications/progress") {
            return None;
        }
        self.owed.with_token(&message.progress_token()?).cloned()
    }

    /// Forgets what only meant something to a session at the server that is gone.
    pub(super) fn forget_remarks(&mut self) {
        self.waiting.retain(|waiting| waiting.deadline.is_some());
    }

    /// Holds a message back.
    pub(super) fn hold(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Takes a request back from the server's side, to send it once more before anything else,
    /// once there is what it `awaits`. If that was done already, the request is given back instead,
    /// to be answered.
    pub(super) fn take_back(
        &mut self,
        id: &RequestId,
        awaits: Awaits,
        patience: Patience,
    ) -> Option<Owed> {
        let owed = self.owed.remove(id)?;
        if !owed.is_wanted() {
            return None;
        }
        if owed.again {
            return Some(owed);
        }
        let deadline = Some(Deadline::after(patience));
        self.waiting.push_front(Waiting {
            again: true,
            ..owed.into_waiting(awaits, deadline)
        });
        None
    }

    /// The same for one that never left: it waits on as if it had not been sent.
    pub(super) fn take_back_unsent(&mut self, id: &RequestId) {
        if let Some(owed) = self.owed.remove(id)
            && owed.is_wanted()
        {
            let deadline = owed.deadline;
            let waiting = owed.into_waiting(Awaits::Server, deadline);
            self.waiting.push_front(waiting);
        }
    }

    /// Notes what is sent, if it is a request.
    pub(super) fn sent(&mut self, waiting: Waiting, authorization: Option<Authorization>) {
        if let Kind::Request { id, .. } = waiting.message.kind() {
            let id = id.clone();
            self.owed.insert(id, waiting, authorization);
        }
    }

    /// Takes out what waits for the server alone, in order.
    pub(super) fn take_ready(&mut self) -> VecDeque<Waiting> {
        let (ready, stay) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.awaits == Awaits::Server);
        self.waiting = stay;
        ready
    }

    /// There is more access now: what waited for that waits for the server alone. Says whether
    /// anything did.
    pub(super) fn grant_access(&mut self) -> bool {
        let waiting = self.waiting.iter_mut();
        let waiting = waiting.filter(|waiting| waiting.awaits == Awaits::Access);
        waiting
            .map(|waiting| waiting.awaits = Awaits::Server)
            .count()
            > 0
    }

    /// Forgets a request that the host no longer wants; says whether it was still here.
    pub(super) fn withdraw(&mut self, id: &RequestId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| {
            waiting.message.method().is_none() || waiting.message.id() != Some(id)
        });
        self.waiting.len() < before
    }

    /// Lets the requests for which `does` says so wait until `until`.
    pub(super) fn let_wait(&mut self, until: Instant, does: impl Fn(&Message) -> bool) {
        let requests = self.waiting.iter_mut();
        let requests = requests.filter(|one| one.deadline.is_some() && does(&one.message));
        requests.for_each(|one| one.deadline = Some(Deadline::at(until)));
    }

    /// The earliest deadline of all that waits, and of all that is withdrawn; `is_unreachable`, where
    /// the server cannot be reached.
    pub(super) fn next_deadline(&self, is_unreachable: bool) -> Option<Instant> {
        let deadlines = self.waiting.iter().filter_map(|waiting| waiting.deadline);
        let waiting = deadlines.map(|deadline| deadline.instant(is_unreachable));
        waiting.chain(self.owed.next_due()).min()
    }

    /// Takes out the requests for which `done` says so, in order.
    pub(super) fn take_if(&mut self, mut done: impl FnMut(&Waiting) -> bool) -> Vec<Message> {
        let (out, stay) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|waiting| waiting.deadline.is_some() && done(waiting));
        self.waiting = stay;
        out.into_iter().map(|waiting| waiting.message).collect()
    }
}
