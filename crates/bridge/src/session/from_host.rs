//! Handles messages of the host.

use auth::Authorization;
use futures_util::FutureExt;
use mcp::handshake::{Implementation, InitializeParams};
use mcp::message::INVALID_REQUEST;
use mcp::{Era, Kind, Message, RequestId};
use tokio::time::Instant;

use super::connection::{AfterToken, ConnectionState, Handshake, HostProtocol, header};
use super::outbox::QueuedMessage;
use super::{CANCEL_TIMEOUT, HANDSHAKE_WAIT, SessionKind, Task};
use crate::session_registry::SessionGuard;
use crate::stand_in;

impl Task {
    pub(super) fn on_host(&mut self, message: Message) {
        match message.kind() {
            Kind::Request { id, .. } if self.is_unanswered(id) => self.refuse(&id.clone()),
            Kind::Request { method, .. } if method.as_ref() == "initialize" => {
                self.begin_legacy(message);
            }
            Kind::Request { .. } => {
                if matches!(self.protocol, HostProtocol::Unknown) {
                    self.protocol = HostProtocol::Modern;
                    if self
                        .session_guard
                        .as_ref()
                        .is_some_and(SessionGuard::is_listed)
                    {
                        self.name_host(Implementation::from_request(&message));
                    }
                }
                if let Some((request, is_shown)) = self.strip_elicitation(message) {
                    self.on_request(request, is_shown);
                }
            }
            Kind::Notification { method } if method.as_ref() == "notifications/initialized" => {
                self.on_initialized(message);
            }
            Kind::Notification { method } if method.as_ref() == "notifications/cancelled" => {
                self.on_cancelled(message);
            }
            Kind::Response { id, .. } if self.elicitation.is_ours(id) => {
                self.on_elicitation_response(&message)
            }
            Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => {
                self.on_one_way(message);
            }
        }
    }

    /// Returns true if the host's request with this id has no response yet.
    fn is_unanswered(&self, id: &RequestId) -> bool {
        let handshake = match &self.protocol {
            HostProtocol::Legacy(handshake) if !handshake.answered => handshake.initialize.id(),
            HostProtocol::Legacy(_) | HostProtocol::Modern | HostProtocol::Unknown => None,
        };
        handshake == Some(id) || self.outbox.contains(id) || self.subscriptions.contains(id)
    }

    /// Rejects a request with an id that is in use: the server could not tell them apart. The
    /// earlier one continues.
    fn refuse(&mut self, id: &RequestId) {
        let text = "a request with this id is still unanswered; hint: use each id once";
        self.send_answer(Message::error_response(
            Some(id),
            INVALID_REQUEST,
            text,
            None,
        ));
    }

    /// Lists the session under the name of the host.
    fn name_host(&self, info: Option<Implementation<'_>>) {
        if let (Some(guard), Some(info)) = (&self.session_guard, info) {
            guard.set_host(&format!("{} {}", info.name, info.version));
        }
    }

    fn begin_legacy(&mut self, initialize: Message) {
        let params = InitializeParams::from_request(&initialize);
        self.name_host(params.and_then(|params| params.client_info));
        let handshake = HostProtocol::Legacy(Box::new(Handshake::new(initialize)));
        if let HostProtocol::Legacy(earlier) = std::mem::replace(&mut self.protocol, handshake)
            && !earlier.answered
        {
            let text = "another `initialize` followed before this one was answered";
            let id = earlier.initialize.id();
            self.send_answer(Message::error_response(id, INVALID_REQUEST, text, None));
        }
        if self.kind == SessionKind::Host {
            self.handshake_deadline = Some(Instant::now() + HANDSHAKE_WAIT);
        }
        match self.connection {
            ConnectionState::SignInNeeded { .. } => self.retry_token(),
            ConnectionState::Down { ref mut next, .. } => {
                *next = AfterToken::Connect;
                self.answer_from_cache();
                self.retry_soon();
            }
            ConnectionState::Idle
            | ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. } => {
                self.request_token(AfterToken::Connect);
            }
        }
    }

    /// Handles a request. `is_shown` says that the host shows the sign-in page for it.
    fn on_request(&mut self, message: Message, is_shown: bool) {
        if let HostProtocol::Legacy(handshake) = &mut self.protocol {
            handshake.record_setting(&message);
        }
        let has_fallback = self.has_fallback(&message);
        let timeout = self.timeout_for(&message);
        let stand_in = match self.kind {
            SessionKind::Host => self.server.stand_in(&message),
            SessionKind::Probe => None,
        };
        let queued = QueuedMessage {
            signed_in: is_shown,
            stand_in,
            has_fallback: has_fallback && matches!(self.protocol, HostProtocol::Modern),
            ..QueuedMessage::new(message, timeout)
        };
        match self.connection {
            ConnectionState::Idle => {
                self.outbox.enqueue(queued);
                return self.request_token(AfterToken::Connect);
            }
            ConnectionState::SignInNeeded { .. } => {
                self.outbox.enqueue(queued);
                return self.retry_token();
            }
            ConnectionState::Down { next, .. } if stand_in.is_some() => {
                self.outbox.enqueue(queued);
                return self.request_token(next);
            }
            ConnectionState::Authorizing { .. }
            | ConnectionState::Opening { .. }
            | ConnectionState::Live { .. }
            | ConnectionState::Down { .. } => {
                self.send_or_queue(queued);
            }
        }
        self.answer_from_cache();
        if !has_fallback {
            self.retry_soon();
        }
    }

    fn on_initialized(&mut self, message: Message) {
        if let HostProtocol::Legacy(handshake) = &mut self.protocol {
            handshake.initialized = Some(message);
        }
        self.send_elicitation();
        self.send_initialized();
        self.send_list_changes();
    }

    fn on_cancelled(&mut self, message: Message) {
        let Some(id) = message.cancels() else {
            return;
        };
        self.subscriptions.remove(&id);
        self.delayed_result.take_if(|late| late.is_for(&id));
        if self.outbox.cancel(&id) {
            return;
        }
        let Some(pending) = self.outbox.pending.get(&id) else {
            return;
        };
        if Era::from_message(&pending.message) == Era::Modern {
            // In the modern era, closing the response stream cancels the request (Streamable HTTP).
            self.outbox.pending.remove(&id);
            self.up.abandon(&id);
        } else {
            let until = Instant::now() + CANCEL_TIMEOUT;
            self.outbox.pending.cancel(&id, until);
            self.on_one_way(message);
        }
    }

    /// Handles a message without a response. It only has a meaning to the current session at the
    /// server.
    fn on_one_way(&mut self, message: Message) {
        match &self.connection {
            ConnectionState::Live { .. }
            | ConnectionState::Authorizing {
                next: AfterToken::Continue | AfterToken::Reconnect,
                ..
            }
            | ConnectionState::Down {
                next: AfterToken::Reconnect,
                ..
            }
            | ConnectionState::Opening {
                next: AfterToken::Reconnect,
                ..
            } => self.send_or_queue(QueuedMessage::new(message, self.call_timeout())),
            ConnectionState::Opening { authorization, .. } if message.method().is_none() => {
                self.up.send(message, header(authorization));
            }
            ConnectionState::Idle
            | ConnectionState::Authorizing {
                next: AfterToken::Connect,
                ..
            }
            | ConnectionState::Opening { .. }
            | ConnectionState::SignInNeeded { .. }
            | ConnectionState::Down { .. } => {}
        }
    }

    /// Sends a message if the connection is live. Queues it otherwise.
    pub(super) fn send_or_queue(&mut self, queued: QueuedMessage) {
        if !matches!(self.connection, ConnectionState::Live { .. }) {
            self.outbox.enqueue(queued);
            return;
        }
        let mut pending_headers = self.pending_headers(None);
        match (&mut pending_headers).now_or_never() {
            Some(Ok(granted)) if self.is_of_account(&granted.authorization) => {
                self.set_headers(granted.headers);
                self.send(queued, granted.authorization);
            }
            Some(authorized) => {
                self.outbox.enqueue(queued);
                self.on_authorized(AfterToken::Continue, authorized);
            }
            None => {
                self.outbox.enqueue(queued);
                self.connection = ConnectionState::Authorizing {
                    pending_headers,
                    next: AfterToken::Continue,
                };
            }
        }
    }

    /// Sends a queued message. Replaces the call of a stand-in tool by a request that shows whether
    /// the server can be used.
    pub(super) fn send(&mut self, queued: QueuedMessage, authorization: Option<Authorization>) {
        let listing = queued
            .stand_in
            .and_then(|_| stand_in::listing(&queued.message));
        let message = listing.unwrap_or_else(|| queued.message.clone());
        self.outbox.sent(queued, authorization.clone());
        self.up.send(message, header(&authorization));
        self.connection = ConnectionState::Live { authorization };
    }

    /// Ends all subscriptions: only the host ends them.
    pub(super) fn end_subscriptions(&mut self) {
        self.subscriptions.take_all();
        for id in self.outbox.pending.take_listens() {
            self.up.abandon(&id);
        }
        self.outbox.take_if(QueuedMessage::is_listen);
    }
}
