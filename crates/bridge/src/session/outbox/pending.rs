//! The requests of the host that are at the server.
//!
//! Owns: finding one by its id, by its progress token and by when it is due, each without looking at
//! the others. Does not own: what becomes of a request that leaves.
//!
//! Invariant: `by_token` and `due` name requests in `by_id` alone. What they are built of is private
//! to this module, and changes here.

use std::collections::{BTreeMap, HashMap};

use auth::Authorization;
use mcp::subscription::LISTEN;
use mcp::{Message, RequestId};
use tokio::time::Instant;

use super::{Deadline, QueuedMessage, WaitFor};
use crate::stand_in::StandIn;

/// A request that is at the server.
#[derive(Debug)]
pub(in crate::session) struct PendingRequest {
    pub(in crate::session) message: Message,
    /// When it would have been answered by us, had it not been sent.
    pub(super) deadline: Option<Deadline>,
    /// What it was sent with.
    pub(in crate::session) authorization: Option<Authorization>,
    /// Whether it was sent again already.
    pub(in crate::session) again: bool,
    /// Whether a sign-in was made for it.
    pub(in crate::session) signed_in: bool,
    /// The stand-in tool that it calls: the server has `tools/list` under this id.
    pub(in crate::session) stand_in: Option<StandIn>,
    /// Whether it is answered in the server's place at its deadline.
    has_fallback: bool,
    /// Once the host no longer wants it: how long the server may still answer.
    cancelled_until: Option<Instant>,
    /// Which of the requests that were sent it is.
    number: u64,
    /// The progress token that the host gave it.
    token: Option<RequestId>,
}

impl PendingRequest {
    /// When it is answered in the server's place.
    fn fallback_at(&self) -> Option<Instant> {
        let deadline = self
            .deadline
            .filter(|_| self.has_fallback && self.is_wanted());
        deadline.map(|deadline| deadline.general)
    }

    fn due(&self) -> Option<(Instant, u64)> {
        let at = self.cancelled_until.or(self.fallback_at())?;
        Some((at, self.number))
    }

    /// Whether the host waits for the answer.
    pub(in crate::session) fn is_wanted(&self) -> bool {
        self.cancelled_until.is_none()
    }

    /// Whether the host waits for an answer that comes by itself.
    pub(super) fn is_wanted_call(&self) -> bool {
        self.is_wanted() && self.message.method() != Some(LISTEN)
    }

    /// The same request, to be sent once more.
    pub(super) fn into_queued(
        self,
        wait_for: WaitFor,
        deadline: Option<Deadline>,
    ) -> QueuedMessage {
        QueuedMessage {
            message: self.message,
            wait_for,
            deadline,
            again: self.again,
            signed_in: self.signed_in,
            stand_in: self.stand_in,
            has_fallback: self.has_fallback,
        }
    }
}

/// The requests that are at the server.
#[derive(Debug, Default)]
pub(in crate::session) struct PendingRequests {
    by_id: HashMap<RequestId, PendingRequest>,
    /// The request that was given a progress token; the last one, if a host gives one twice.
    by_token: HashMap<RequestId, RequestId>,
    /// The requests with which something is to be done at a time.
    due: BTreeMap<(Instant, u64), RequestId>,
    /// How many requests were sent so far.
    sent: u64,
}

impl PendingRequests {
    /// Adds a request that is sent, in place of an earlier one with this id.
    pub(super) fn insert(
        &mut self,
        id: RequestId,
        queued: QueuedMessage,
        authorization: Option<Authorization>,
    ) {
        self.remove(&id);
        self.sent += 1;
        let token = queued.message.progress_token();
        let pending = PendingRequest {
            message: queued.message,
            deadline: queued.deadline,
            authorization,
            again: queued.again,
            signed_in: queued.signed_in,
            stand_in: queued.stand_in,
            has_fallback: queued.has_fallback,
            cancelled_until: None,
            number: self.sent,
            token: token.clone(),
        };
        if let Some(due) = pending.due() {
            self.due.insert(due, id.clone());
        }
        if let Some(token) = token {
            self.by_token.insert(token, id.clone());
        }
        self.by_id.insert(id, pending);
    }

    /// Takes a request out.
    pub(in crate::session) fn remove(&mut self, id: &RequestId) -> Option<PendingRequest> {
        let pending = self.by_id.remove(id)?;
        if let Some(due) = pending.due() {
            self.due.remove(&due);
        }
        if let Some(token) = &pending.token
            && self.by_token.get(token) == Some(id)
        {
            self.by_token.remove(token);
        }
        Some(pending)
    }

    /// Takes all requests out.
    pub(in crate::session) fn take_all(&mut self) -> impl Iterator<Item = PendingRequest> + use<> {
        std::mem::take(self).by_id.into_values()
    }

    pub(in crate::session) fn get(&self, id: &RequestId) -> Option<&PendingRequest> {
        self.by_id.get(id)
    }

    pub(in crate::session) fn contains(&self, id: &RequestId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &PendingRequest> {
        self.by_id.values()
    }

    /// The id of the request that was given this progress token, as the host wrote it.
    pub(super) fn with_token(&self, token: &RequestId) -> Option<&RequestId> {
        let id = self.by_token.get(token)?;
        self.by_id.get(id)?.message.id()
    }

    /// The host no longer wants a request. The server may still answer it until `until`.
    pub(in crate::session) fn cancel(&mut self, id: &RequestId, until: Instant) {
        self.reschedule(id, |pending| pending.cancelled_until = Some(until));
    }

    /// When something is to be done with a request next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let ((at, _), _) = self.due.first_key_value()?;
        Some(*at)
    }

    /// The requests that are to be answered in the server's place now, and are not any more.
    pub(in crate::session) fn take_overdue(&mut self, now: Instant) -> Vec<Message> {
        let mut late = Vec::new();
        for id in self.due_ids(now, PendingRequest::is_wanted) {
            self.reschedule(&id, |pending| pending.has_fallback = false);
            late.extend(self.get(&id).map(|pending| pending.message.clone()));
        }
        late
    }

    /// Takes out the withdrawn requests whose answer is not waited for any longer.
    pub(in crate::session) fn take_expired(&mut self, now: Instant) -> Vec<RequestId> {
        let over = self.due_ids(now, |pending| !pending.is_wanted());
        for id in &over {
            self.remove(id);
        }
        over
    }

    /// Takes the subscriptions out. Returns their ids.
    pub(in crate::session) fn take_listens(&mut self) -> Vec<RequestId> {
        let listens = self.by_id.iter();
        let listens = listens.filter(|(_, pending)| pending.message.method() == Some(LISTEN));
        let ids: Vec<_> = listens.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.remove(id);
        }
        ids
    }

    fn due_ids(&self, now: Instant, does: impl Fn(&PendingRequest) -> bool) -> Vec<RequestId> {
        let due = self.due.range(..=(now, u64::MAX));
        due.filter(|(_, id)| self.get(id).is_some_and(&does))
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// Changes when something is to be done with a request.
    fn reschedule(&mut self, id: &RequestId, change: impl FnOnce(&mut PendingRequest)) {
        let Some(pending) = self.by_id.get_mut(id) else {
            return;
        };
        if let Some(due) = pending.due() {
            self.due.remove(&due);
        }
        change(pending);
        if let Some(due) = pending.due() {
            self.due.insert(due, id.clone());
        }
    }
}

#[cfg(test)]
mod tests;
