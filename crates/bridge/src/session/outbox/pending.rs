//! The host's requests that are at the server.
//!
//! Owns: finding one by its id, by its progress token and by when it is due, each without a search.
//! Does not own: what becomes of a removed request.
//!
//! Invariant: `by_token` and `due` only name requests in `by_id`. The fields that they are built
//! from are private to this module and only change here.

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
    /// When the bridge would have answered it, had it not been sent.
    pub(super) deadline: Option<Deadline>,
    /// The authorization it was sent with.
    pub(in crate::session) authorization: Option<Authorization>,
    /// Whether it was sent a second time.
    pub(in crate::session) again: bool,
    /// Whether a sign-in was made for it.
    pub(in crate::session) signed_in: bool,
    /// The stand-in tool that it calls. The server has `tools/list` under this id.
    pub(in crate::session) stand_in: Option<StandIn>,
    /// Whether the bridge answers it at its deadline.
    has_fallback: bool,
    /// Set once the host has cancelled it: until when the server may still respond.
    cancelled_until: Option<Instant>,
    /// The sequence number of the sent request.
    number: u64,
    /// The progress token of the host.
    token: Option<RequestId>,
}

impl PendingRequest {
    /// Returns when the bridge answers it.
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

    /// Returns true if the host waits for the response.
    pub(in crate::session) fn is_wanted(&self) -> bool {
        self.cancelled_until.is_none()
    }

    /// Returns true if the host waits for a response that comes by itself.
    pub(super) fn is_wanted_call(&self) -> bool {
        self.is_wanted() && self.message.method() != Some(LISTEN)
    }

    /// Converts it to a queued message, to be sent once more.
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
    /// The request with a progress token. If a host uses a token twice, the last one.
    by_token: HashMap<RequestId, RequestId>,
    /// The requests by the time at which they are due.
    due: BTreeMap<(Instant, u64), RequestId>,
    /// The number of sent requests.
    sent: u64,
}

impl PendingRequests {
    /// Adds a sent request. Replaces an earlier one with this id.
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

    /// Removes a request.
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

    /// Removes all requests.
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

    /// Returns the id of the request with this progress token, as the host wrote it.
    pub(super) fn with_token(&self, token: &RequestId) -> Option<&RequestId> {
        let id = self.by_token.get(token)?;
        self.by_id.get(id)?.message.id()
    }

    /// Records that the host has cancelled a request. The server may still respond until `until`.
    pub(in crate::session) fn cancel(&mut self, id: &RequestId, until: Instant) {
        self.reschedule(id, |pending| pending.cancelled_until = Some(until));
    }

    /// Returns when the next request is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let ((at, _), _) = self.due.first_key_value()?;
        Some(*at)
    }

    /// Returns the requests that the bridge answers now. Each is returned once.
    pub(in crate::session) fn take_overdue(&mut self, now: Instant) -> Vec<Message> {
        let mut late = Vec::new();
        for id in self.due_ids(now, PendingRequest::is_wanted) {
            self.reschedule(&id, |pending| pending.has_fallback = false);
            late.extend(self.get(&id).map(|pending| pending.message.clone()));
        }
        late
    }

    /// Removes the cancelled requests whose time has passed. Returns their ids.
    pub(in crate::session) fn take_expired(&mut self, now: Instant) -> Vec<RequestId> {
        let over = self.due_ids(now, |pending| !pending.is_wanted());
        for id in &over {
            self.remove(id);
        }
        over
    }

    /// Removes the subscriptions. Returns their ids.
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

    /// Changes a request, and when it is due.
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
