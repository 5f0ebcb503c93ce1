//! What the host says.

use auth::Authorization;
use futures_util::FutureExt;
use mcp::handshake::{Implementation, InitializeParams};
use mcp::message::INVALID_REQUEST;
use mcp::{Era, Kind, Message, RequestId};
use tokio::time::Instant;

use super::connection::{Handshake, Link, Next, Speech};
use super::outbox::Waiting;
use super::task::{Task, header};
use super::{FIRST_CONTACT, Manner, WITHDRAWN};
use crate::bridge_state::Registered;
use crate::stand_in;

impl Task {
    pub(super) fn on_host(&mut self, message: Message) {
        match message.kind() {
            Kind::Request { id, .. } if self.is_unanswered(id) => self.refuse(&id.clone()),
            Kind::Request { method, .. } if method.as_ref() == "initialize" => {
                self.begin_legacy(message);
            }
            Kind::Request { .. } => {
                if matches!(self.speech, Speech::Silent) {
                    self.speech = Speech::Modern;
                    if self.shown.as_ref().is_some_and(Registered::is_listed) {
                        self.name_host(Implementation::of_client(&message));
                    }
                }
                if let Some((request, is_shown)) = self.unasked(message) {
                    self.on_request(request, is_shown);
                }
            }
            Kind::Notification { method } if method.as_ref() == "notifications/initialized" => {
                self.on_initialized(message);
            }
            Kind::Notification { method } if method.as_ref() == "notifications/cancelled" => {
                self.on_cancelled(message);
            }
            Kind::Response { id, .. } if self.elicitation.takes(id) => self.on_answer(&message),
            Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => {
                self.on_remark(message);
            }
        }
    }

    /// Whether a request of the host with this id has no answer yet.
    fn is_unanswered(&self, id: &RequestId) -> bool {
        let handshake = match &self.speech {
            Speech::Legacy(handshake) if !handshake.answered => handshake.initialize.id(),
            Speech::Legacy(_) | Speech::Modern | Speech::Silent => None,
        };
        handshake == Some(id) || self.outbox.knows(id) || self.subscriptions.contains(id)
    }

    /// Two requests with one id cannot be told apart at the server; the earlier one goes on.
    fn refuse(&mut self, id: &RequestId) {
        let text = "a request with this id is still unanswered; hint: use each id once";
        self.tell_answer(Message::error_response(
            Some(id),
            INVALID_REQUEST,
            text,
            None,
        ));
    }

    /// Lists the session under the name that the host gives itself.
    fn name_host(&self, info: Option<Implementation<'_>>) {
        if let (Some(shown), Some(info)) = (&self.shown, info) {
            shown.host(&format!("{} {}", info.name, info.version));
        }
    }

    fn begin_legacy(&mut self, initialize: Message) {
        let params = InitializeParams::of(&initialize);
        self.name_host(params.and_then(|params| params.client_info));
        let handshake = Speech::Legacy(Box::new(Handshake::of(initialize)));
        if let Speech::Legacy(earlier) = std::mem::replace(&mut self.speech, handshake)
            && !earlier.answered
        {
            let text = "another `initialize` followed before this one was answered";
            let id = earlier.initialize.id();
            self.tell_answer(Message::error_response(id, INVALID_REQUEST, text, None));
        }
        if self.manner == Manner::Host {
            self.contact = Some(Instant::now() + FIRST_CONTACT);
        }
        match self.link {
            Link::SignInNeeded { .. } => self.ask_once_more(),
            Link::Down { ref mut next, .. } => {
                *next = Next::Open;
                self.settle();
                self.hurry();
            }
            Link::Idle | Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } => {
                self.ask(Next::Open);
            }
        }
    }

    /// A request; `is_shown`, where the host says that it shows the page of a sign-in for it.
    fn on_request(&mut self, message: Message, is_shown: bool) {
        if let Speech::Legacy(handshake) = &mut self.speech {
            handshake.note_standing(&message);
        }
        let in_place = self.is_answered_in_place(&message);
        let patience = self.patience_of(&message);
        let stand_in = match self.manner {
            Manner::Host => self.server.stand_in(&message),
            Manner::Probe => None,
        };
        let waiting = Waiting {
            signed_in: is_shown,
            stand_in,
            in_place: in_place && matches!(self.speech, Speech::Modern),
            ..Waiting::new(message, patience)
        };
        match self.link {
            Link::Idle => {
                self.outbox.hold(waiting);
                return self.ask(Next::Open);
            }
            Link::SignInNeeded { .. } => {
                self.outbox.hold(waiting);
                return self.ask_once_more();
            }
            Link::Down { next, .. } if stand_in.is_some() => {
                self.outbox.hold(waiting);
                return self.ask(next);
            }
            Link::Asking { .. } | Link::Opening { .. } | Link::Live { .. } | Link::Down { .. } => {
                self.pass_or_hold(waiting);
            }
        }
        self.settle();
        if !in_place {
            self.hurry();
        }
    }

    fn on_initialized(&mut self, message: Message) {
        if let Speech::Legacy(handshake) = &mut self.speech {
            handshake.initialized = Some(message);
        }
        self.ask_host();
        self.greet();
        self.tell_changes();
    }

    fn on_cancelled(&mut self, message: Message) {
        let Some(id) = message.cancels() else {
            return;
        };
        self.subscriptions.remove(&id);
        self.late.take_if(|late| late.is_for(&id));
        if self.outbox.withdraw(&id) {
            return;
        }
        let Some(owed) = self.outbox.owed.get(&id) else {
            return;
        };
        if Era::of(&owed.message) == Era::Modern {
            // In the modern era a closed response stream is the cancellation (streamable HTTP).
            self.outbox.owed.remove(&id);
            self.up.abandon(&id);
        } else {
            let until = Instant::now() + WITHDRAWN;
            self.outbox.owed.withdraw(&id, until);
            self.on_remark(message);
        }
    }

    /// A message that wants no answer: it means something to the session at the server that
    /// there is, if there is one, and to no later one.
    fn on_remark(&mut self, message: Message) {
        match &self.link {
            Link::Live { .. }
            | Link::Asking {
                next: Next::Resume | Next::Revive,
                ..
            }
            | Link::Down {
                next: Next::Revive, ..
            }
            | Link::Opening {
                next: Next::Revive, ..
            } => self.pass_or_hold(Waiting::new(message, self.patience())),
            Link::Opening { authorization, .. } if message.method().is_none() => {
                self.up.send(message, header(authorization));
            }
            Link::Idle
            | Link::Asking {
                next: Next::Open, ..
            }
            | Link::Opening { .. }
            | Link::SignInNeeded { .. }
            | Link::Down { .. } => {}
        }
    }

    /// Sends a message if messages flow, else keeps it.
    pub(super) fn pass_or_hold(&mut self, waiting: Waiting) {
        if !matches!(self.link, Link::Live { .. }) {
            self.outbox.hold(waiting);
            return;
        }
        let mut asking = self.asking(None);
        match (&mut asking).now_or_never() {
            Some(Ok(granted)) if self.is_of_account(&granted.authorization) => {
                self.take_headers(granted.headers);
                self.send(waiting, granted.authorization);
            }
            Some(authorized) => {
                self.outbox.hold(waiting);
                self.on_authorized(Next::Resume, authorized);
            }
            None => {
                self.outbox.hold(waiting);
                self.link = Link::Asking {
                    asking,
                    next: Next::Resume,
                };
            }
        }
    }

    /// Sends what waits no longer. In place of the call of a stand-in tool the server gets the
    /// request that shows whether it can be used.
    pub(super) fn send(&mut self, waiting: Waiting, authorization: Option<Authorization>) {
        let listing = waiting
            .stand_in
            .and_then(|_| stand_in::listing(&waiting.message));
        let message = listing.unwrap_or_else(|| waiting.message.clone());
        self.outbox.sent(waiting, authorization.clone());
        self.up.send(message, header(&authorization));
        self.link = Link::Live { authorization };
    }

    /// A subscription has no other end than its host's.
    pub(super) fn end_subscriptions(&mut self) {
        self.subscriptions.take_all();
        for id in self.outbox.owed.take_listens() {
            self.up.abandon(&id);
        }
        self.outbox.take_if(Waiting::is_listen);
    }
}
