//! The server's notifications: one `subscriptions/listen` request (2026-07-28,
//! basic/patterns/subscriptions) in place of the GET stream and of `resources/subscribe`.
//!
//! The filter of a subscription never changes. A new subscription replaces the old one after it is
//! acknowledged, so that no notification is missed in between.

use super::super::Action;
use super::{LegacyHost, done};
use crate::error::UpstreamError;
use crate::message::INVALID_PARAMS;
use crate::meta::META_SUBSCRIPTION;
use crate::splice::{Object, quoted, with};
use crate::{Message, RequestId, json};

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// The lists whose changes the server announces, as the filter names them.
    offered: Vec<&'static str>,
    /// The resources that the host has subscribed to.
    uris: Vec<String>,
    /// The id of the acknowledged subscription.
    standing: Option<RequestId>,
    /// The subscription that is not acknowledged yet.
    opening: Option<Opening>,
    /// How many subscriptions in a row ended before a notification.
    failures: u32,
    /// True if the host's side has asked for notifications.
    wanted: bool,
}

#[derive(Debug)]
struct Opening {
    id: RequestId,
    /// The host's requests that are answered after the acknowledgement, and the resource of each.
    waiting: Vec<(RequestId, Option<String>)>,
}

impl Subscriptions {
    /// Records which notifications the server offers.
    pub(super) fn offer(&mut self, capabilities: &Object<'_>) {
        let tells = [
            ("tools", "toolsListChanged"),
            ("prompts", "promptsListChanged"),
            ("resources", "resourcesListChanged"),
        ];
        let offers = |part: &str| capabilities.object(part).get("listChanged") == Some("true");
        let offered = tells.into_iter().filter(|(part, _)| offers(part));
        self.offered = offered.map(|(_, kind)| kind).collect();
    }

    pub(super) fn is_about(&self, id: &RequestId) -> bool {
        self.standing.as_ref() == Some(id) || self.is_opening(id)
    }

    fn is_opening(&self, id: &RequestId) -> bool {
        self.opening
            .as_ref()
            .is_some_and(|opening| opening.id == *id)
    }

    /// Returns true if the host's side has asked for notifications.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Ends the subscriptions. The host will subscribe again. Also returns the host's requests that
    /// waited for an acknowledgement.
    pub(super) fn end(&mut self) -> (Vec<Action>, Vec<RequestId>) {
        let Self {
            standing, opening, ..
        } = std::mem::take(self);
        let mut ended: Vec<_> = standing.into_iter().map(Action::Abandon).collect();
        let mut waiting = Vec::new();
        if let Some(opening) = opening {
            ended.push(Action::Abandon(opening.id));
            waiting.extend(opening.waiting.into_iter().map(|(id, _)| id));
        }
        (ended, waiting)
    }

    fn filter(&self) -> String {
        let mut filter = Object::default();
        for kind in &self.offered {
            filter.put(kind, "true");
        }
        if !self.uris.is_empty() {
            let uris: Vec<_> = self.uris.iter().map(|uri| quoted(uri)).collect();
            filter.put("resourceSubscriptions", format!("[{}]", uris.join(",")));
        }
        filter.text()
    }
}

impl LegacyHost {
    /// Opens a subscription if there is none and the server offers any notifications.
    pub(crate) fn listen(&mut self) -> Vec<Action> {
        self.subscriptions.wanted = true;
        let subscriptions = &self.subscriptions;
        let has_begun = subscriptions.standing.is_some() || subscriptions.opening.is_some();
        if has_begun || (subscriptions.offered.is_empty() && subscriptions.uris.is_empty()) {
            return Vec::new();
        }
        self.open(Vec::new())
    }

    pub(super) fn on_subscribe(
        &mut self,
        id: RequestId,
        method: &str,
        message: &Message,
    ) -> Vec<Action> {
        let Some(uri) = Object::from_raw(message.params()).string("uri") else {
            return vec![Action::refusal(&id, INVALID_PARAMS, "`uri` is missing")];
        };
        let uris = &mut self.subscriptions.uris;
        let is_known = uris.contains(&uri);
        let subscribes = method == "resources/subscribe";
        if subscribes && !is_known {
            uris.push(uri.clone());
        }
        uris.retain(|known| subscribes || *known != uri);
        if subscribes == is_known && self.subscriptions.standing.is_some() {
            return vec![done(&id)];
        }
        if self.subscriptions.uris.is_empty() && self.subscriptions.offered.is_empty() {
            let wanted = self.subscriptions.wanted;
            let (mut actions, waiting) = self.subscriptions.end();
            self.subscriptions.wanted = wanted;
            actions.extend(waiting.iter().map(done));
            actions.push(done(&id));
            return actions;
        }
        self.open(vec![(id, subscribes.then_some(uri))])
    }

    /// Opens a subscription in place of one that is not acknowledged yet.
    fn open(&mut self, wanted: Vec<(RequestId, Option<String>)>) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut waiting = Vec::new();
        if let Some(earlier) = self.subscriptions.opening.take() {
            waiting = earlier.waiting;
            actions.push(Action::Abandon(earlier.id));
        }
        waiting.extend(wanted);
        let id = self.new_id("listen");
        let mut params = Object::default();
        params.put("_meta", self.meta(&Object::default()));
        params.put("notifications", self.subscriptions.filter());
        let listen = Message::raw_request(&id, "subscriptions/listen", Some(&params.text()));
        self.subscriptions.opening = Some(Opening { id, waiting });
        actions.push(Action::ToServer(listen));
        actions
    }

    pub(super) fn on_subscription_message(
        &mut self,
        message: &Message,
        on: &RequestId,
    ) -> Vec<Action> {
        match message.method() {
            None if message.answers(on) => match message.result() {
                Some(_) => self.on_subscription_ended(on),
                None => self.on_subscription_refused(on, message),
            },
            Some("notifications/subscriptions/acknowledged") => self.on_acknowledged(message, on),
            // The end of the stream ends the subscription, and other requests have streams of their
            // own.
            None | Some("notifications/cancelled") => Vec::new(),
            Some(_) if message.id().is_some() => Vec::new(),
            Some(_) => {
                self.subscriptions.failures = 0;
                vec![Action::ToHost {
                    message: untagged(message),
                    request: None,
                }]
            }
        }
    }

    fn on_acknowledged(&mut self, message: &Message, on: &RequestId) -> Vec<Action> {
        let Some(opening) = self
            .subscriptions
            .opening
            .take_if(|opening| opening.id == *on)
        else {
            return Vec::new();
        };
        let earlier = self.subscriptions.standing.replace(opening.id);
        let mut actions: Vec<_> = earlier.map(Action::Abandon).into_iter().collect();
        let params = Object::from_raw(message.params());
        let granted = params.object("notifications");
        let granted: Vec<String> = granted
            .get("resourceSubscriptions")
            .and_then(|uris| json::read(uris).ok())
            .unwrap_or_default();
        for (id, uri) in opening.waiting {
            actions.push(match uri {
                Some(uri) if !granted.contains(&uri) => {
                    self.subscriptions.uris.retain(|known| *known != uri);
                    let text = "the server sends no updates of this resource";
                    Action::refusal(&id, INVALID_PARAMS, text)
                }
                Some(_) | None => done(&id),
            });
        }
        actions
    }

    /// Handles the end of a subscription, graceful or not.
    fn on_subscription_ended(&mut self, on: &RequestId) -> Vec<Action> {
        let opening = self
            .subscriptions
            .opening
            .take_if(|opening| opening.id == *on);
        let was_standing = self
            .subscriptions
            .standing
            .take_if(|id| *id == *on)
            .is_some();
        if was_standing && self.subscriptions.opening.is_some() {
            return Vec::new();
        }
        let failures = self.subscriptions.failures;
        self.subscriptions.failures += 1;
        let mut actions: Vec<_> = self.fail_waiting(opening, &UpstreamError::StreamEnded);
        if self.subscriptions.standing.is_none() {
            actions.push(Action::ListenLater { failures });
        }
        actions
    }

    /// Handles a server that refuses subscriptions, or this one.
    fn on_subscription_refused(&mut self, on: &RequestId, answer: &Message) -> Vec<Action> {
        let opening = self
            .subscriptions
            .opening
            .take_if(|opening| opening.id == *on);
        self.subscriptions.standing.take_if(|id| *id == *on);
        let mut actions = Vec::new();
        for (id, uri) in opening.into_iter().flat_map(|opening| opening.waiting) {
            self.subscriptions
                .uris
                .retain(|known| Some(known) != uri.as_ref());
            actions.extend(answer.error_for(&id).map(Action::answer));
        }
        actions
    }

    /// Handles a subscription that failed. The rules are those of the GET stream.
    pub(super) fn on_subscription_failed(
        &mut self,
        on: &RequestId,
        failure: UpstreamError,
    ) -> Vec<Action> {
        match failure {
            UpstreamError::StreamEnded | UpstreamError::Unreachable { .. } => {
                self.on_subscription_ended(on)
            }
            UpstreamError::Rejected {
                status: 408 | 429 | 500..,
                ..
            } => self.on_subscription_ended(on),
            UpstreamError::Rejected { .. } | UpstreamError::NotMcp { .. } => {
                self.subscriptions.standing.take_if(|id| *id == *on);
                let opening = self
                    .subscriptions
                    .opening
                    .take_if(|opening| opening.id == *on);
                self.fail_waiting(opening, &failure)
            }
            failure => {
                self.subscriptions.standing.take_if(|id| *id == *on);
                let opening = self
                    .subscriptions
                    .opening
                    .take_if(|opening| opening.id == *on);
                let mut actions = self.fail_waiting(opening, &failure);
                let request = None;
                actions.push(Action::Fail { request, failure });
                actions
            }
        }
    }

    fn fail_waiting(&mut self, opening: Option<Opening>, failure: &UpstreamError) -> Vec<Action> {
        let waiting = opening.into_iter().flat_map(|opening| opening.waiting);
        let fail = |(id, uri): (RequestId, Option<String>)| {
            self.subscriptions
                .uris
                .retain(|known| Some(known) != uri.as_ref());
            Action::Fail {
                request: Some(id),
                failure: failure.clone(),
            }
        };
        waiting.map(fail).collect()
    }
}

/// Removes the subscription id, which legacy hosts do not know.
fn untagged(message: &Message) -> Message {
    let mut params = Object::from_raw(message.params());
    let mut meta = params.object("_meta");
    meta.cut(META_SUBSCRIPTION);
    let meta = (!meta.is_empty()).then(|| meta.text());
    match meta {
        Some(meta) => params.put("_meta", meta),
        None => params.cut("_meta"),
    }
    with(message, None, &params.text())
}
