//! Subscriptions (2026-07-28, basic/patterns/subscriptions), translated to the notifications that
//! the server sends to all clients of a session, and to `resources/subscribe`.

use super::super::Action;
use super::{ModernHost, Outcome};
use crate::splice::quoted;
use crate::subscription::{self, Filter};
use crate::{Message, RequestId};

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    active: Vec<Subscription>,
    /// Resources with a pending `resources/unsubscribe` request.
    unsubscribing: Vec<(RequestId, String)>,
    /// Subscriptions to such a resource. They wait, because the server might process the requests
    /// in the other order.
    deferred: Vec<(RequestId, String)>,
}

#[derive(Debug)]
struct Subscription {
    /// The id of `subscriptions/listen`.
    host: RequestId,
    granted: Filter,
    /// Pending `resources/subscribe` requests. The subscription is acknowledged when there are
    /// none.
    asked: Vec<(RequestId, String)>,
}

impl Subscriptions {
    pub(super) fn is_about(&self, at_server: &RequestId) -> bool {
        let asked = self.active.iter().flat_map(|one| &one.asked);
        let mut asked = asked.chain(&self.unsubscribing);
        asked.any(|(id, _)| id == at_server)
    }

    pub(super) fn knows(&self, host: &RequestId) -> bool {
        self.active.iter().any(|one| one.host == *host)
    }

    /// Ends all subscriptions. Returns the host's requests.
    pub(super) fn end(&mut self) -> Vec<RequestId> {
        let ended = std::mem::take(self).active.into_iter();
        ended.map(|subscription| subscription.host).collect()
    }

    fn has(&self, uri: &str) -> bool {
        let mut uris = self.active.iter().flat_map(|one| &one.granted.uris);
        uris.any(|known| known == uri)
    }

    fn is_unsubscribing(&self, uri: &str) -> bool {
        self.unsubscribing.iter().any(|(_, left)| left == uri)
    }

    /// Handles the outcome of `resources/unsubscribe`. Returns the subscriptions that waited for
    /// it, or `None` if it was no such request.
    fn on_unsubscribed(&mut self, at_server: &RequestId) -> Option<Vec<Action>> {
        let at = self
            .unsubscribing
            .iter()
            .position(|(id, _)| id == at_server)?;
        let (_, uri) = self.unsubscribing.swap_remove(at);
        let deferred = self.deferred.extract_if(.., |(_, wanted)| *wanted == uri);
        let subscribe = |(id, uri): (RequestId, String)| about(&id, "resources/subscribe", &uri);
        Some(deferred.map(subscribe).collect())
    }

    /// Sends a notification to each subscription that covers it.
    pub(super) fn notify(&self, message: &Message) -> Vec<Action> {
        let wanting = self.active.iter().filter(|one| one.wants(message));
        let told = wanting.map(|one| Action::ToHost {
            message: one.tagged(message),
            request: Some(one.host.clone()),
        });
        told.collect()
    }
}

impl Subscription {
    fn wants(&self, message: &Message) -> bool {
        self.asked.is_empty() && self.granted.covers(message)
    }

    fn tagged(&self, message: &Message) -> Message {
        subscription::tagged(message, &self.host)
    }

    /// Builds the first message of a subscription.
    fn acknowledged(&self) -> Action {
        Action::ToHost {
            message: self.granted.acknowledgement(&self.host),
            request: Some(self.host.clone()),
        }
    }
}

impl ModernHost {
    pub(super) fn subscribe(&mut self, host: RequestId, request: &Message) -> Vec<Action> {
        let Some(ready) = self.ready() else {
            return Vec::new();
        };
        let mut granted = Filter::grantable(request, &ready.capabilities);
        let uris = std::mem::take(&mut granted.uris);
        let mut subscription = Subscription {
            host,
            granted,
            asked: Vec::new(),
        };
        let mut actions = Vec::new();
        for uri in uris {
            if self.subscriptions.has(&uri) {
                subscription.granted.uris.push(uri);
                continue;
            }
            let id = self.new_id();
            if self.subscriptions.is_unsubscribing(&uri) {
                self.subscriptions.deferred.push((id.clone(), uri.clone()));
            } else {
                actions.push(about(&id, "resources/subscribe", &uri));
            }
            subscription.asked.push((id, uri));
        }
        if subscription.asked.is_empty() {
            actions.push(subscription.acknowledged());
        }
        self.subscriptions.active.push(subscription);
        self.listen_once().into_iter().chain(actions).collect()
    }

    /// Handles the outcome of `resources/subscribe` or `resources/unsubscribe`.
    pub(super) fn on_subscribed(&mut self, at_server: &RequestId, outcome: Outcome) -> Vec<Action> {
        if let Some(actions) = self.subscriptions.on_unsubscribed(at_server) {
            return actions;
        }
        let all = &mut self.subscriptions.active;
        let asks = |one: &Subscription| one.asked.iter().any(|(id, _)| id == at_server);
        let Some(at) = all.iter().position(asks) else {
            return Vec::new();
        };
        if let Err(failure) = &outcome
            && failure.is_unprocessed()
        {
            let request = Some(all.remove(at).host);
            let failure = failure.clone();
            return vec![Action::Fail { request, failure }];
        }
        let one = &mut all[at];
        let answered = one.asked.extract_if(.., |(id, _)| id == at_server);
        let uris: Vec<_> = answered.map(|(_, uri)| uri).collect();
        if outcome.is_ok_and(|answer| answer.result().is_some()) {
            one.granted.uris.extend(uris);
        }
        let stands = one.asked.is_empty();
        stands.then(|| one.acknowledged()).into_iter().collect()
    }

    /// Ends the host's subscription. Returns `None` if the host has no such subscription.
    pub(super) fn unsubscribe(&mut self, host: &RequestId) -> Option<Vec<Action>> {
        let all = &mut self.subscriptions.active;
        let at = all.iter().position(|one| one.host == *host)?;
        let ended = all.remove(at);
        let unsent = self.subscriptions.deferred.extract_if(.., |(id, _)| {
            let mut asked = ended.asked.iter();
            asked.any(|(asked, _)| asked == id)
        });
        let unsent: Vec<_> = unsent.collect();
        let asked = ended.asked.into_iter().filter(|one| !unsent.contains(one));
        let asked = asked.map(|(_, uri)| uri);
        let mut actions = Vec::new();
        for uri in ended.granted.uris.into_iter().chain(asked) {
            if !self.subscriptions.has(&uri) {
                let id = self.new_id();
                actions.push(about(&id, "resources/unsubscribe", &uri));
                self.subscriptions.unsubscribing.push((id, uri));
            }
        }
        Some(actions)
    }
}

/// Builds a request about a resource.
fn about(id: &RequestId, method: &str, uri: &str) -> Action {
    let params = format!(r#"{{"uri":{}}}"#, quoted(uri));
    Action::ToServer(Message::raw_request(id, method, Some(&params)))
}
