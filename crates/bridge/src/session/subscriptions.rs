//! `subscriptions/listen` in the server's place (2026-07-28, basic/patterns/subscriptions).
//!
//! Owns: the subscriptions that were acknowledged while the server could not be asked, and what
//! the host sees of them once it can be. Does not own: subscriptions that the server has
//! acknowledged itself, which are requests like any other.
//!
//! A host waits at its start until its subscription is acknowledged, and asks for no list again
//! unless the subscription says that it changed. So the subscription is acknowledged as far as the
//! capabilities allow that the host was told. Once the server can be asked, it gets the request
//! under the same id, and the host is told that the lists changed.

use std::collections::HashMap;

use mcp::subscription::{self, Filter, LISTEN};
use mcp::{Kind, Message, RequestId};

use super::Manner;
use super::link::Link;
use super::outbox::Waiting;
use super::task::Task;

/// The subscriptions acknowledged in the server's place, by the id of their request.
#[derive(Default)]
pub(super) struct Subscriptions(HashMap<RequestId, Subscription>);

struct Subscription {
    request: Message,
    /// What the host was told that it gets.
    granted: Filter,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server does not have the request.
    Away,
    /// The server has the request, and has not said anything on it.
    AtServer,
    /// The server has acknowledged it.
    Acknowledged,
    /// The server has refused it. The host gets the changes that this session knows of.
    Refused,
}

impl Subscriptions {
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.0.contains_key(id)
    }

    /// Forgets the subscription `id`. Returns false if there is none.
    pub(super) fn remove(&mut self, id: &RequestId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Forgets all. Returns their requests.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let all = std::mem::take(&mut self.0).into_values();
        all.map(|subscription| subscription.request).collect()
    }

    /// The server cannot be asked any longer: it gets every request again when it can be.
    pub(super) fn lose_server(&mut self) {
        for subscription in self.0.values_mut() {
            subscription.stage = Stage::Away;
        }
    }
}

impl Task {
    /// Whether `request` is answered in the server's place where the server cannot be asked.
    pub(super) fn is_answered_in_place(&self, request: &Message) -> bool {
        let is_listen = request.method() == Some(LISTEN);
        self.manner == Manner::Host && (is_listen || self.server.can_answer(request))
    }

    /// Acknowledges the subscription that `request` opens, unless that was done already.
    pub(super) fn acknowledge_in_place(&mut self, request: &Message) {
        let Some(id) = request.id().cloned() else {
            return;
        };
        if let Some(known) = self.subscriptions.0.get_mut(&id) {
            known.stage = Stage::Away;
            return;
        }
        let granted = Filter::grantable(request, &self.server.capabilities());
        self.tell(granted.acknowledgement(&id), Some(id.clone()));
        let subscription = Subscription {
            request: request.clone(),
            granted,
            stage: Stage::Away,
        };
        self.subscriptions.0.insert(id, subscription);
    }

    /// The server can be asked: it gets the requests that it does not have.
    pub(super) fn subscribe_at_server(&mut self) {
        let Link::Live { authorization } = &self.link else {
            return;
        };
        let authorization = authorization.clone();
        let patience = self.patience();
        let away = self.subscriptions.0.values_mut();
        let away: Vec<_> = away
            .filter(|subscription| subscription.stage == Stage::Away)
            .map(|subscription| {
                subscription.stage = Stage::AtServer;
                Waiting::new(subscription.request.clone(), patience)
            })
            .collect();
        for request in away {
            self.send(request, authorization.clone());
        }
    }

    /// Takes a message of the server on a subscription that was acknowledged in its place. Returns
    /// what of it goes on to the host; `message` itself, where it is on none of those.
    pub(super) fn on_subscription(
        &mut self,
        message: Message,
        request: Option<&RequestId>,
    ) -> Option<Message> {
        let Some((id, known)) = request
            .or_else(|| message.id())
            .and_then(|id| self.subscriptions.0.get_key_value(id))
        else {
            return Some(message);
        };
        let id = id.clone();
        match (message.kind(), known.stage) {
            (Kind::Response { is_error: true, .. }, Stage::AtServer) => {
                self.outbox.owed.remove(&id);
                self.keep_refused(&id);
                None
            }
            (Kind::Response { .. }, _) => {
                self.subscriptions.remove(&id);
                Some(message)
            }
            (Kind::Request { .. } | Kind::Notification { .. } | Kind::ErrorWithoutId, _) => {
                match Filter::acknowledged(&message) {
                    Some(granted) => {
                        self.on_acknowledged(&id, &granted);
                        None
                    }
                    None => known.granted.covers(&message).then_some(message),
                }
            }
        }
    }

    /// The server has acknowledged the subscription `id`. Where it grants more than the host was
    /// told, the subscription ends, so that the host opens another one.
    fn on_acknowledged(&mut self, id: &RequestId, granted: &Filter) {
        self.tell_list_changes(id);
        let Some(known) = self.subscriptions.0.get_mut(id) else {
            return;
        };
        known.stage = Stage::Acknowledged;
        if granted.exceeds(&known.granted) {
            self.subscriptions.remove(id);
            self.outbox.owed.remove(id);
            self.up.abandon(id);
            self.tell_answer(subscription::ended(id));
        }
    }

    /// Keeps a subscription acknowledged in the server's place although its request has failed.
    /// Returns false if the host has to be told of the failure.
    pub(super) fn keep_subscription(&mut self, request: &Message) -> bool {
        let Some(id) = request.id() else { return false };
        let Some(known) = self.subscriptions.0.get_mut(id) else {
            return false;
        };
        match (&self.link, known.stage) {
            (Link::Live { .. }, Stage::AtServer) => self.keep_refused(id),
            (Link::Live { .. }, Stage::Acknowledged) => {
                self.subscriptions.remove(id);
                return false;
            }
            (Link::Live { .. }, Stage::Away | Stage::Refused) => {}
            (
                Link::Idle
                | Link::Asking { .. }
                | Link::Opening { .. }
                | Link::SignInNeeded { .. }
                | Link::Down { .. },
                _,
            ) => known.stage = Stage::Away,
        }
        true
    }

    fn keep_refused(&mut self, id: &RequestId) {
        if let Some(known) = self.subscriptions.0.get_mut(id) {
            known.stage = Stage::Refused;
        }
        self.tell_list_changes(id);
    }

    /// Tells the host that the lists which the subscription covers have changed: it may have been
    /// answered in the server's place.
    fn tell_list_changes(&mut self, id: &RequestId) {
        let known = self.subscriptions.0.get(id);
        let changes = known.map(|known| known.granted.list_changes(id));
        for change in changes.into_iter().flatten() {
            self.tell(change, Some(id.clone()));
        }
    }
}
