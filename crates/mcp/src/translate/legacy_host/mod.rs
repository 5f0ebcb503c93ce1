//! A host with a handshake (up to 2025-11-25), and a server without (2026-07-28).
//!
//! Owns: the handshake with `server/discover`, the `_meta` of every request, and responses to
//! requests that the modern era lacks (`ping`, `logging/setLevel`). Its parts: `input`, requests of
//! the server to the host, and `subscriptions`, the notifications. Does not own: sending messages
//! (`upstream`).

mod handshake;
mod input;
mod subscriptions;

use std::collections::HashMap;

use super::{Action, LOG_LEVELS, RESOURCE_NOT_FOUND, is_own_id};
use crate::error::UpstreamError;
use crate::message::{INVALID_PARAMS, INVALID_REQUEST};
use crate::meta::{
    META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION,
};
use crate::mrtr::ID_PREFIX;
use crate::splice::{Object, quoted, with};
use crate::{Kind, LATEST_MODERN, Message, RequestId};
use handshake::Handshake;
use input::PendingInput;
use subscriptions::Subscriptions;

/// The translation for a legacy host.
#[derive(Debug, Default)]
pub(crate) struct LegacyHost {
    meta: RequestMeta,
    /// The pending `initialize` request.
    handshake: Option<Handshake>,
    /// The host's pending requests, by the host's ids.
    calls: HashMap<RequestId, Call>,
    subscriptions: Subscriptions,
    /// How many ids of Postern were used.
    own: u64,
}

/// The host's `initialize` parameters that a modern server gets with each request, as the host
/// wrote them.
#[derive(Debug, Default)]
struct RequestMeta {
    version: String,
    info: Option<String>,
    capabilities: String,
    log_level: Option<String>,
}

#[derive(Debug)]
struct Call {
    /// The request as the host sent it.
    request: Message,
    /// How many times the server required input.
    rounds: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The server has this request.
    AtServer { sent: Message },
    /// The host has the server's input requests.
    PendingInput(PendingInput),
    /// The retry with the host's input did not reach the server, and can be sent again.
    Unsent { unsent: Message },
}

impl LegacyHost {
    /// Handles a message of the host. `initialize` begins a new session. Other pending requests
    /// continue.
    pub(crate) fn on_host(&mut self, message: Message) -> Vec<Action> {
        match message.kind() {
            Kind::Request { id, method } => {
                let (id, method) = (id.clone(), method.to_string());
                self.on_request(message, id, &method)
            }
            Kind::Notification { .. } => match message.cancels() {
                Some(id) => self.abandon(&id),
                // The modern era has no other notifications from a client.
                None => Vec::new(),
            },
            Kind::ErrorWithoutId => Vec::new(),
            Kind::Response { id, .. } => {
                let id = id.clone();
                self.on_input(&id, &message)
            }
        }
    }

    fn on_request(&mut self, message: Message, id: RequestId, method: &str) -> Vec<Action> {
        if let Some(call) = self.calls.get_mut(&id) {
            if let Stage::Unsent { unsent } = &call.stage
                && call.request.bytes() == message.bytes()
            {
                let sent = unsent.clone();
                call.stage = Stage::AtServer { sent: sent.clone() };
                return vec![Action::ToServer(sent)];
            }
            if !matches!(call.stage, Stage::Unsent { .. }) {
                let text = "a request with this id is still unanswered; hint: use each id once";
                return vec![Action::refusal(&id, INVALID_REQUEST, text)];
            }
        }
        match method {
            "initialize" => self.begin(message, None),
            "ping" => vec![done(&id)],
            "logging/setLevel" => vec![self.on_log_level(&id, &message)],
            "resources/subscribe" | "resources/unsubscribe" => {
                self.on_subscribe(id, method, &message)
            }
            _ => {
                let sent = with(&message, Some(&id), &self.params(&message).text());
                let call = Call {
                    request: message,
                    rounds: 0,
                    stage: Stage::AtServer { sent: sent.clone() },
                };
                self.calls.insert(id, call);
                vec![Action::ToServer(sent)]
            }
        }
    }

    fn on_log_level(&mut self, id: &RequestId, message: &Message) -> Action {
        let level = Object::from_raw(message.params()).string("level");
        match level.filter(|level| LOG_LEVELS.contains(&level.as_str())) {
            Some(level) => {
                self.meta.log_level = Some(quoted(&level));
                done(id)
            }
            None => Action::refusal(id, INVALID_PARAMS, "`level` is not a log level"),
        }
    }

    /// Handles a message of the server: a response, or a message on the stream of the request `on`.
    pub(crate) fn on_server(&mut self, message: Message, on: Option<RequestId>) -> Vec<Action> {
        let Some(on) = on else {
            return vec![Action::ToHost {
                message,
                request: None,
            }];
        };
        if self.handshake.as_ref().is_some_and(|first| first.is(&on)) {
            return self.on_discovered(&message);
        }
        if self.subscriptions.is_about(&on) {
            return self.on_subscription_message(&message, &on);
        }
        let Some(host) = self.host_id(&on) else {
            if is_own_id(&on) {
                return Vec::new();
            }
            let request = Some(on);
            return vec![Action::ToHost { message, request }];
        };
        if !message.answers(&on) {
            let request = Some(host);
            return vec![Action::ToHost { message, request }];
        }
        let result = Object::from_raw(message.result());
        if result.string("resultType").as_deref() == Some("input_required") {
            return self.on_input_required(&host, &result);
        }
        let call = self.calls.remove(&host);
        let missing = call.and_then(|call| missing_resource(&call.request, &message, &host));
        vec![Action::answer(
            missing.unwrap_or_else(|| readdressed(message, &host)),
        )]
    }

    /// Handles the failure of a message to the server.
    pub(crate) fn failed(&mut self, on: Option<RequestId>, failure: UpstreamError) -> Vec<Action> {
        let Some(on) = on else {
            let request = None;
            return vec![Action::Fail { request, failure }];
        };
        if self.handshake.as_ref().is_some_and(|first| first.is(&on)) {
            return self.on_undiscovered(failure);
        }
        if self.subscriptions.is_about(&on) {
            return self.on_subscription_failed(&on, failure);
        }
        let request = match self.host_id(&on) {
            Some(host) => {
                self.keep_unsent(&host, &failure);
                Some(host)
            }
            None if is_own_id(&on) => return Vec::new(),
            None => Some(on),
        };
        vec![Action::Fail { request, failure }]
    }

    /// Keeps a retry that the server has provably not processed for another attempt, so that the
    /// user is not asked the same twice. Any other request starts from the beginning.
    fn keep_unsent(&mut self, host: &RequestId, failure: &UpstreamError) {
        let Some(mut call) = self.calls.remove(host) else {
            return;
        };
        if call.rounds == 0 || !failure.is_unprocessed() {
            return;
        }
        if let Stage::AtServer { sent } = call.stage {
            call.stage = Stage::Unsent { unsent: sent };
            self.calls.insert(host.clone(), call);
        }
    }

    /// Abandons a request of the host.
    pub(crate) fn abandon(&mut self, id: &RequestId) -> Vec<Action> {
        match self.calls.remove(id).map(|call| call.stage) {
            Some(Stage::AtServer { sent }) => {
                let at_server = sent.id().unwrap_or(id);
                vec![Action::Abandon(at_server.clone())]
            }
            Some(Stage::PendingInput(pending)) => pending.cancellations(),
            Some(Stage::Unsent { .. }) => Vec::new(),
            None if self.handshake.as_ref().is_some_and(|first| first.is(id)) => Vec::new(),
            None => vec![Action::Abandon(id.clone())],
        }
    }

    /// Ends the session: the handshake and the subscriptions.
    pub(crate) fn reset(&mut self) -> Vec<Action> {
        let mut actions = self.end_handshake();
        let (ended, waiting) = self.subscriptions.end();
        actions.extend(ended);
        actions.extend(waiting.into_iter().map(|id| Action::Fail {
            request: Some(id),
            failure: UpstreamError::StreamEnded,
        }));
        actions
    }

    /// Returns the host's parameters with the `_meta` that a modern server requires.
    fn params<'a>(&self, message: &'a Message) -> Object<'a> {
        let mut params = Object::from_raw(message.params());
        let meta = self.meta(&params);
        params.put("_meta", meta);
        params
    }

    fn meta(&self, params: &Object<'_>) -> String {
        let mut meta = params.object("_meta");
        meta.put(META_PROTOCOL_VERSION, quoted(LATEST_MODERN));
        if let Some(info) = &self.meta.info {
            meta.put(META_CLIENT_INFO, info.as_str());
        }
        meta.put(META_CLIENT_CAPABILITIES, self.meta.capabilities.as_str());
        if let Some(level) = &self.meta.log_level {
            meta.put(META_LOG_LEVEL, level.as_str());
        }
        meta.text()
    }

    /// Returns the id of the host's request that the server has under this id.
    fn host_id(&self, at_server: &RequestId) -> Option<RequestId> {
        let mut calls = self.calls.iter();
        let found = calls.find(|(_, call)| match &call.stage {
            Stage::AtServer { sent } => sent.id() == Some(at_server),
            Stage::PendingInput(_) | Stage::Unsent { .. } => false,
        });
        found.map(|(host, _)| host.clone())
    }

    /// Returns an id that no host uses.
    fn new_id(&mut self, what: &str) -> RequestId {
        self.own += 1;
        RequestId::string(&format!("{ID_PREFIX}{what}:{}", self.own))
    }
}

/// Responds with an empty result.
fn done(id: &RequestId) -> Action {
    Action::answer(Message::response(id, &serde_json::json!({})))
}

/// Returns the same response for another request.
fn readdressed(answer: Message, id: &RequestId) -> Message {
    if answer.id() == Some(id) {
        return answer;
    }
    match answer.result() {
        Some(result) => Message::raw_response(id, result.get()),
        None => answer.error_for(id).unwrap_or(answer),
    }
}

/// Returns the legacy error for a resource that does not exist. Returns `None` for any other
/// response. The code alone does not identify this error.
fn missing_resource(request: &Message, answer: &Message, host: &RequestId) -> Option<Message> {
    let is_it =
        request.method() == Some("resources/read") && answer.error_code() == Some(INVALID_PARAMS);
    let mut error = Object::parse(answer.error().filter(|_| is_it)?.get());
    let named = error.object("data").string("uri")?;
    if Object::from_raw(request.params()).string("uri")? != named {
        return None;
    }
    error.put("code", RESOURCE_NOT_FOUND.to_string());
    Some(Message::raw_error(host, &error.text()))
}

#[cfg(test)]
mod tests;
