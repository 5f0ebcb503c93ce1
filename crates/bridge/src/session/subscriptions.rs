//! `subscriptions/listen` of modern hosts (2026-07-28, basic/patterns/subscriptions).
//!
//! Owns: the acknowledged subscriptions, including those that the bridge has acknowledged for the
//! server, and what the host receives on each. Does not own: the request until it is acknowledged,
//! which is handled like any other.
//!
//! A host waits at its start until its subscription is acknowledged, and lists again only if the
//! subscription says that a list changed. So the bridge acknowledges the subscription as far as the
//! announced capabilities allow. Once the server can be asked, it gets the request under the same
//! id, and the host is told that the lists changed.
//!
//! Invariant: the server has a pending request exactly in the stages `AtServer` and `Acknowledged`.

use std::collections::HashMap;
use std::time::Duration;

use control::api::{Problem, ProblemKind};
use mcp::subscription::{self, Filter};
use mcp::{Kind, Message, RequestId};
use tokio::time::Instant;

use super::connection::ConnectionState;
use super::outbox::QueuedMessage;
use super::{SessionKind, Task};

/// How long after a temporary failure the server gets a subscription again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The acknowledged subscriptions, by request id.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_id: HashMap<RequestId, Subscription>,
    /// When the server gets the subscriptions again that it lacks, although the connection is live.
    retry_at: Option<Instant>,
    /// When the host was last told that lists changed.
    list_changed_at: Option<Instant>,
}

struct Subscription {
    request: Message,
    /// The filter that the host was granted.
    granted: Filter,
    acknowledged_by: Acknowledger,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acknowledger {
    Bridge,
    Server,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server does not have the request.
    Away,
    /// The server has the request, and has sent nothing on it.
    AtServer,
    /// The server has acknowledged it.
    Acknowledged,
    /// The server has rejected it. The host gets the changes that this session knows of.
    Refused,
}

impl Subscriptions {
    pub(super) fn contains(&self, id: &RequestId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn contains_request(&self, request: &Message) -> bool {
        request.id().is_some_and(|id| self.contains(id))
    }

    /// Removes the subscription `id`. Returns false if there is none.
    pub(super) fn remove(&mut self, id: &RequestId) -> bool {
        self.by_id.remove(id).is_some()
    }

    /// Removes all. Returns their requests.
    pub(super) fn take_all(&mut self) -> Vec<Message> {
        let all = std::mem::take(&mut self.by_id).into_values();
        all.map(|subscription| subscription.request).collect()
    }

    /// Returns when the server gets the subscriptions again that it lacks.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Records that the host was told that lists changed.
    pub(super) fn record_list_changed(&mut self) {
        self.list_changed_at = Some(Instant::now());
    }

    /// Returns true if the host was told within `time` that lists changed.
    pub(super) fn sent_list_changed_within(&self, time: Duration) -> bool {
        self.list_changed_at.is_some_and(|at| at.elapsed() < time)
    }
}

impl Task {
    /// Returns true if the bridge answers `request` while the server cannot be asked.
    pub(super) fn has_fallback(&self, request: &Message) -> bool {
        self.kind == SessionKind::Host && self.server.can_answer(request)
    }

    /// Acknowledges the subscription that `request` opens, unless that was done already.
    pub(super) fn acknowledge_locally(&mut self, request: &Message) {
        let Some(id) = request.id().cloned() else {
            return;
        };
        if let Some(known) = self.subscriptions.by_id.get_mut(&id) {
            known.stage = Stage::Away;
            return;
        }
        let granted = Filter::grantable(request, &self.server.capabilities());
        self.send_to_host(granted.acknowledgement(&id), Some(id.clone()));
        let subscription = Subscription {
            request: request.clone(),
            granted,
            acknowledged_by: Acknowledger::Bridge,
            stage: match self.outbox.pending.contains(&id) {
                true => Stage::AtServer,
                false => Stage::Away,
            },
        };
        self.subscriptions.by_id.insert(id, subscription);
    }

    /// Suspends all subscriptions: the server cannot be asked, or not for this account. It gets
    /// them again when it can be asked.
    pub(super) fn suspend_subscriptions(&mut self) {
        for (id, subscription) in &mut self.subscriptions.by_id {
            if self.outbox.pending.remove(id).is_some() {
                self.up.abandon(id);
            }
            subscription.stage = Stage::Away;
        }
        let subscriptions = &self.subscriptions;
        let is_known = |queued: &QueuedMessage| {
            queued.is_listen() && subscriptions.contains_request(&queued.message)
        };
        self.outbox.take_if(is_known);
    }

    /// Sends the subscriptions that the server lacks.
    pub(super) fn subscribe_at_server(&mut self) {
        self.subscriptions.retry_at = None;
        let ConnectionState::Live { authorization } = &self.connection else {
            return;
        };
        let authorization = authorization.clone();
        let timeout = self.call_timeout();
        let away = self.subscriptions.by_id.values_mut();
        let away: Vec<_> = away
            .filter(|subscription| subscription.stage == Stage::Away)
            .map(|subscription| {
                subscription.stage = Stage::AtServer;
                QueuedMessage::new(subscription.request.clone(), timeout)
            })
            .collect();
        for request in away {
            self.send(request, authorization.clone());
        }
    }

    /// Handles a message of the server on a subscription. Returns what the host receives. Returns
    /// `message` itself if it belongs to no subscription.
    pub(super) fn on_subscription(
        &mut self,
        message: Message,
        request: Option<&RequestId>,
    ) -> Option<Message> {
        let id = request.or_else(|| message.id());
        let known = id.and_then(|id| self.subscriptions.by_id.get_key_value(id));
        let Some((id, known)) = known else {
            return self.on_other(message);
        };
        let id = id.clone();
        match (message.kind(), known.stage) {
            (Kind::Response { is_error: true, .. }, Stage::AtServer) => {
                self.outbox.pending.remove(&id);
                self.keep_refused(&id);
                None
            }
            (Kind::Response { .. }, stage) => {
                if stage != Stage::Acknowledged {
                    self.send_list_changed(&id);
                }
                self.subscriptions.remove(&id);
                Some(message)
            }
            (Kind::Request { .. } | Kind::Notification { .. } | Kind::ErrorWithoutId, _) => {
                match Filter::acknowledged(&message) {
                    Some(granted) => {
                        self.on_acknowledged(&id, &granted);
                        None
                    }
                    None => {
                        let passes = known.acknowledged_by == Acknowledger::Server
                            || known.granted.covers(&message);
                        passes.then_some(message)
                    }
                }
            }
        }
    }

    /// Handles a message on an unknown subscription: the first on a new one, the last on an ended
    /// one, or any other message.
    fn on_other(&mut self, message: Message) -> Option<Message> {
        let Some(id) = subscription::id_of(&message) else {
            return Some(message);
        };
        let request = self.outbox.pending.get(&id)?.message.clone();
        if let Some(granted) = Filter::acknowledged(&message) {
            let subscription = Subscription {
                request,
                granted,
                acknowledged_by: Acknowledger::Server,
                stage: Stage::Acknowledged,
            };
            self.subscriptions.by_id.insert(id, subscription);
        }
        Some(message)
    }

    /// The server has acknowledged a subscription that the bridge acknowledged before. If the
    /// server grants more, ends the subscription, so that the host opens another one.
    fn on_acknowledged(&mut self, id: &RequestId, granted: &Filter) {
        self.send_list_changed(id);
        let Some(known) = self.subscriptions.by_id.get_mut(id) else {
            return;
        };
        known.stage = Stage::Acknowledged;
        if granted.exceeds(&known.granted) {
            self.subscriptions.remove(id);
            self.outbox.pending.remove(id);
            self.up.abandon(id);
            self.send_answer(subscription::ended(id));
        }
    }

    /// Keeps an acknowledged subscription although its request has failed. Returns false if the
    /// host has to be told of the failure.
    pub(super) fn keep_subscription(&mut self, request: &Message, problem: &Problem) -> bool {
        let Some(id) = request.id() else { return false };
        let Some(known) = self.subscriptions.by_id.get_mut(id) else {
            return false;
        };
        let is_passing = problem.kind == ProblemKind::Unreachable;
        match (&self.connection, known.stage) {
            (ConnectionState::Live { .. }, Stage::AtServer) if is_passing => {
                known.stage = Stage::Away;
                self.subscriptions.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
            (ConnectionState::Live { .. }, Stage::AtServer) => self.keep_refused(id),
            (ConnectionState::Live { .. }, Stage::Acknowledged) => {
                self.subscriptions.remove(id);
                return false;
            }
            (ConnectionState::Live { .. }, Stage::Away | Stage::Refused) => {}
            (
                ConnectionState::Idle
                | ConnectionState::Authorizing { .. }
                | ConnectionState::Opening { .. }
                | ConnectionState::SignInNeeded { .. }
                | ConnectionState::Down { .. },
                _,
            ) => known.stage = Stage::Away,
        }
        true
    }

    fn keep_refused(&mut self, id: &RequestId) {
        if let Some(known) = self.subscriptions.by_id.get_mut(id) {
            known.stage = Stage::Refused;
        }
        self.send_list_changed(id);
    }

    /// Tells the host that the lists of the subscription have changed: the bridge may have answered
    /// for the server before.
    fn send_list_changed(&mut self, id: &RequestId) {
        let known = self.subscriptions.by_id.get(id);
        let changes = known.map(|known| known.granted.list_changes(id));
        for change in changes.into_iter().flatten() {
            self.subscriptions.record_list_changed();
            self.send_to_host(change, Some(id.clone()));
        }
    }
}
