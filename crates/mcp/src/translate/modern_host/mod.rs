//! A host without a handshake (2026-07-28), and a server with one (up to 2025-11-25).
//!
//! Owns: the host's requests at the server and their ids, the members of results that the legacy
//! era lacks, and which notifications belong to which request. Its parts: `session`, the handshake
//! with the server; `request_meta`, the `_meta` of each request; `input`, requests of the server to
//! the host; `url_elicitation`, errors that require input; `subscriptions`. Does not own: sending
//! messages (`upstream`).
//!
//! The server gets each request under an id of Postern. A request that the server still processes
//! may have been answered for the host already, and the host may use its id again.

mod input;
mod request_meta;
mod session;
mod subscriptions;
mod url_elicitation;

use std::collections::HashMap;
use std::sync::Arc;

use super::{Action, RESOURCE_NOT_FOUND, is_own_id};
use crate::error::UpstreamError;
use crate::message::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND};
use crate::mrtr::ID_PREFIX;
use crate::splice::{Object, with};
use crate::{Kind, Message, RequestId};
use input::InputRequest;
pub(crate) use input::StateNumber;
use request_meta::RequestMeta;
use session::{Ready, Session};
use subscriptions::Subscriptions;

/// Methods of the legacy era that the modern era removed. A host that uses one gets the error that
/// any modern server returns.
const REMOVED_METHODS: [&str; 5] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];
/// The methods whose results carry cache hints (server/utilities/caching).
const CACHEABLE: [&str; 5] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];
/// The translation for a modern host.
#[derive(Debug)]
pub(crate) struct ModernHost {
    /// Tells the states of this connection from those of any other. Impossible to guess.
    nonce: Arc<str>,
    /// True if the server can only be of the legacy era.
    is_legacy_only: bool,
    session: Session,
    /// The pending requests at the server, by their ids there.
    calls: HashMap<RequestId, Call>,
    subscriptions: Subscriptions,
    /// How many ids of Postern and states were used.
    own: u64,
}

/// The result of a request.
type Outcome = Result<Message, UpstreamError>;

/// A request of the host that is not at the server yet.
#[derive(Debug)]
struct Waiting {
    request: Message,
    id: RequestId,
    meta: RequestMeta,
    /// The server's response to the untranslated request.
    refusal: Option<Outcome>,
}

/// A request at the server.
#[derive(Debug)]
struct Call {
    /// The method of the host's request.
    method: Arc<str>,
    /// The tool, prompt or resource.
    subject: Option<String>,
    /// The progress token that the server has, as JSON text.
    token: Option<String>,
    /// The `_meta` of the host's latest attempt.
    meta: RequestMeta,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The host waits for the response under this id.
    Awaited { host: RequestId },
    /// The host got input requests and has not retried yet.
    Suspended {
        state: StateNumber,
        inputs: Vec<InputRequest>,
        /// The server has responded without the input.
        outcome: Option<Outcome>,
    },
}

impl ModernHost {
    /// `nonce` has to be different for each connection, and impossible to guess. `is_legacy_only`
    /// is true if the server can only be of the legacy era.
    pub(crate) fn new(nonce: Arc<str>, is_legacy_only: bool) -> Self {
        Self {
            nonce,
            is_legacy_only,
            session: Session::default(),
            calls: HashMap::new(),
            subscriptions: Subscriptions::default(),
            own: 0,
        }
    }

    /// Handles a message of the host.
    pub(crate) fn on_host(&mut self, message: Message) -> Vec<Action> {
        match message.kind() {
            Kind::Request { id, .. } => {
                let id = id.clone();
                self.on_request(message, id, None)
            }
            Kind::Notification { .. } => match message.cancels() {
                Some(id) => self.abandon(&id),
                // The modern era has no other notifications of a client.
                None => Vec::new(),
            },
            // The modern era has no responses of a client.
            Kind::Response { .. } | Kind::ErrorWithoutId => Vec::new(),
        }
    }

    /// Handles a request that the server refused, untranslated, as a legacy server does.
    pub(crate) fn refused(&mut self, request: Message, refusal: Outcome) -> Vec<Action> {
        match request.id().cloned() {
            Some(id) => self.on_request(request, id, Some(refusal)),
            None => Vec::new(),
        }
    }

    fn on_request(
        &mut self,
        request: Message,
        id: RequestId,
        refusal: Option<Outcome>,
    ) -> Vec<Action> {
        if self.is_awaited(&id) {
            let text = "a request with this id is still unanswered; hint: use each id once";
            return vec![Action::refusal(&id, INVALID_REQUEST, text)];
        }
        let method = request.method().unwrap_or_default();
        if REMOVED_METHODS.contains(&method) {
            let text = "this version of the protocol has no such method";
            return vec![Action::refusal(&id, METHOD_NOT_FOUND, text)];
        }
        let params = Object::from_raw(request.params());
        let meta = match RequestMeta::from_params(&params) {
            Ok(meta) => meta,
            Err(flaw) => {
                let stands = refusal.map(|refusal| session::outcome_action(&id, refusal));
                return vec![stands.unwrap_or_else(|| flaw.answer(&id))];
            }
        };
        if let Some(state) = params.string("requestState") {
            return self.on_retry(&request, &id, meta, &state);
        }
        if let Some(refusal) = url_elicitation::declined(&id, &params) {
            return vec![refusal];
        }
        let waiting = Waiting {
            request,
            id,
            meta,
            refusal,
        };
        self.when_ready(waiting)
    }

    /// Performs a request of the host in the session.
    fn proceed(&mut self, waiting: Waiting) -> Vec<Action> {
        match waiting.request.method() {
            Some("server/discover") => vec![self.discovered(&waiting.id)],
            Some("subscriptions/listen") => self.subscribe(waiting.id, &waiting.request),
            Some(_) | None => self.call(waiting),
        }
    }

    fn call(&mut self, waiting: Waiting) -> Vec<Action> {
        let Waiting {
            request, id, meta, ..
        } = waiting;
        let mut params = Object::from_raw(request.params());
        params.cut("inputResponses");
        let subject = subject(&params);
        request_meta::strip(&mut params);
        let at_server = self.new_id();
        let sent = with(&request, Some(&at_server), &params.text());
        let call = Call {
            method: request.method().unwrap_or_default().into(),
            subject,
            token: meta.token.clone(),
            meta,
            stage: Stage::Awaited { host: id },
        };
        self.calls.insert(at_server, call);
        vec![Action::ToServer(sent)]
    }

    /// Handles a message of the server: a response, or a message on the stream of the request `on`.
    pub(crate) fn on_server(&mut self, message: Message, on: Option<RequestId>) -> Vec<Action> {
        match (message.kind(), on) {
            (Kind::Request { id, method }, on) => {
                let (id, method) = (id.clone(), Arc::clone(method));
                self.on_server_request(&message, id, &method, on.as_ref())
            }
            (Kind::Notification { method }, on) => {
                let method = Arc::clone(method);
                self.on_notification(&message, &method, on.as_ref())
            }
            (Kind::Response { .. }, Some(on)) => self.on_outcome(&on, Ok(message)),
            (Kind::Response { .. } | Kind::ErrorWithoutId, _) => Vec::new(),
        }
    }

    /// Handles the failure of a message to the server.
    pub(crate) fn failed(&mut self, on: Option<RequestId>, failure: UpstreamError) -> Vec<Action> {
        match (on, failure) {
            (Some(on), failure) => self.on_outcome(&on, Err(failure)),
            // The next request begins another session.
            (None, UpstreamError::SessionGone { .. }) => Vec::new(),
            (None, failure) => vec![Action::Fail {
                request: None,
                failure,
            }],
        }
    }

    /// Handles the outcome of any request at the server.
    fn on_outcome(&mut self, at_server: &RequestId, outcome: Outcome) -> Vec<Action> {
        if self.session.is_opened_by(at_server) {
            return self.on_opened(outcome);
        }
        if self.session.sets_level_by(at_server) {
            return self.on_level_set();
        }
        if self.subscriptions.is_about(at_server) {
            return self.on_subscribed(at_server, outcome);
        }
        let Some(call) = self.calls.get_mut(at_server) else {
            return self.on_unknown(at_server, outcome);
        };
        match &mut call.stage {
            Stage::Suspended { outcome: kept, .. } => {
                *kept = Some(outcome);
                Vec::new()
            }
            Stage::Awaited { host } => {
                let host = host.clone();
                let call = self.calls.remove(at_server);
                let ended = call.map(|call| self.to_host(&call, &host, outcome));
                ended.into_iter().collect()
            }
        }
    }

    /// Handles the outcome of an untranslated request, or of an abandoned one.
    fn on_unknown(&self, request: &RequestId, outcome: Outcome) -> Vec<Action> {
        match outcome {
            _ if is_own_id(request) => Vec::new(),
            Ok(message) => vec![Action::answer(message)],
            Err(failure) => vec![Action::Fail {
                request: Some(request.clone()),
                failure,
            }],
        }
    }

    /// Returns the response to the host for the outcome of its request.
    fn to_host(&self, call: &Call, host: &RequestId, outcome: Outcome) -> Action {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                return Action::Fail {
                    request: Some(host.clone()),
                    failure,
                };
            }
        };
        if let Some(input) = self.required(call, host, &answer) {
            return input;
        }
        Action::answer(match (answer.result(), answer.error()) {
            (Some(result), _) => {
                Message::raw_response(host, &self.completed(&call.method, result.get()))
            }
            (None, Some(error)) => {
                let mut error = Object::parse(error.get());
                if answer.error_code() == Some(RESOURCE_NOT_FOUND) {
                    error.put("code", INVALID_PARAMS.to_string());
                }
                Message::raw_error(host, &error.text())
            }
            (None, None) => answer,
        })
    }

    /// Adds the members that results of the modern era require.
    fn completed(&self, method: &str, result: &str) -> String {
        let mut result = Object::parse(result);
        let mut fields = vec![("resultType", r#""complete""#)];
        if CACHEABLE.contains(&method) {
            // How long the result is valid and who may see it is unknown.
            fields.extend([("ttlMs", "0"), ("cacheScope", r#""private""#)]);
        }
        for (name, value) in fields {
            if result.get(name).is_none() {
                result.put(name, value);
            }
        }
        self.add_server_info(&mut result);
        result.text()
    }

    fn on_notification(
        &mut self,
        message: &Message,
        method: &str,
        on: Option<&RequestId>,
    ) -> Vec<Action> {
        match method {
            "notifications/cancelled" => {
                self.remove_input_request(message);
                Vec::new()
            }
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => self.subscriptions.notify(message),
            "notifications/progress" => {
                let params = Object::from_raw(message.params());
                let token = params.get("progressToken");
                let call = self.call_on(on, |call| call.token.as_deref() == token);
                let told = call.and_then(|(host, call)| {
                    let message = request_meta::progress(message, &params, call)?;
                    Some((message, host))
                });
                on_request(told)
            }
            "notifications/message" => {
                let call = self.call_on(on, |call| call.meta.wants_log(message));
                let told = call.filter(|(_, call)| call.meta.wants_log(message));
                on_request(told.map(|(host, _)| (message.clone(), host)))
            }
            // It belongs to a feature that the modern era removed.
            "notifications/elicitation/complete" => Vec::new(),
            _ => {
                let call = on.and_then(|on| self.call_on(Some(on), |_| false));
                on_request(call.map(|(host, _)| (message.clone(), host)))
            }
        }
    }

    /// Returns the call whose stream this is. If it is no call's stream, returns the newest call
    /// that fits. Returns `None` if the host does not wait for the call.
    fn call_on(
        &self,
        on: Option<&RequestId>,
        fits: impl Fn(&Call) -> bool,
    ) -> Option<(&RequestId, &Call)> {
        let found = match on {
            Some(on) => self.calls.get(on),
            None => {
                let fitting = self.calls.iter();
                let fitting = fitting.filter(|(_, call)| is_awaited(call) && fits(call));
                let newest = fitting.max_by_key(|(id, _)| number(id));
                newest.map(|(_, call)| call)
            }
        }?;
        match &found.stage {
            Stage::Awaited { host } => Some((host, found)),
            Stage::Suspended { .. } => None,
        }
    }

    /// Abandons a request of the host.
    pub(crate) fn abandon(&mut self, id: &RequestId) -> Vec<Action> {
        if self.session.forget(id) {
            return Vec::new();
        }
        if let Some(actions) = self.unsubscribe(id) {
            return actions;
        }
        match self.at_server(id) {
            Some(at_server) => self.cancel_at_server(&at_server),
            None => vec![Action::Abandon(id.clone())],
        }
    }

    /// Cancels a request at the server.
    fn cancel_at_server(&mut self, at_server: &RequestId) -> Vec<Action> {
        let Some(call) = self.calls.remove(at_server) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        if let Stage::Suspended { inputs, .. } = call.stage {
            actions.extend(inputs.iter().map(InputRequest::unanswered));
        }
        actions.push(Action::ToServer(Message::cancellation(at_server)));
        actions.push(Action::Abandon(at_server.clone()));
        actions
    }

    /// Ends the session. `gone` is the error of the requests that need one.
    pub(crate) fn reset(&mut self, gone: &UpstreamError) -> Vec<Action> {
        let mut actions = self.lose_session(gone);
        let held = self.calls.extract_if(|_, call| !is_awaited(call));
        actions.extend(held.map(|(at_server, _)| Action::Abandon(at_server)));
        actions
    }

    /// Fails the host's pending requests, because it speaks the other era from now on.
    pub(crate) fn end(&mut self) -> Vec<Action> {
        let mut actions = self.reset(&UpstreamError::StreamEnded);
        for (at_server, call) in self.calls.drain() {
            if let Stage::Awaited { host } = call.stage {
                actions.push(Action::Fail {
                    request: Some(host),
                    failure: UpstreamError::StreamEnded,
                });
            }
            actions.push(Action::Abandon(at_server));
        }
        actions
    }

    /// Returns the cancellations that the server gets before the connection ends.
    pub(crate) fn closing_messages(&self) -> Vec<Message> {
        self.calls.keys().map(Message::cancellation).collect()
    }

    /// Returns true if the host waits for the response to a request with this id.
    fn is_awaited(&self, id: &RequestId) -> bool {
        self.session.knows(id) || self.subscriptions.knows(id) || self.at_server(id).is_some()
    }

    /// Returns the id under which the server has a request of the host.
    fn at_server(&self, host: &RequestId) -> Option<RequestId> {
        let is_it = |call: &Call| matches!(&call.stage, Stage::Awaited { host: id } if id == host);
        let found = self.calls.iter().find(|(_, call)| is_it(call));
        found.map(|(at_server, _)| at_server.clone())
    }

    fn new_id(&mut self) -> RequestId {
        self.own += 1;
        RequestId::string(&format!("{ID_PREFIX}{}", self.own))
    }

    fn ready(&self) -> Option<&Ready> {
        match &self.session {
            Session::Ready(ready) => Some(ready),
            Session::None | Session::Opening { .. } => None,
        }
    }
}

/// Returns true if the host waits for the response.
fn is_awaited(call: &Call) -> bool {
    matches!(call.stage, Stage::Awaited { .. })
}

/// Returns the number in an id of Postern, which shows the order.
fn number(id: &RequestId) -> u64 {
    let text = id.as_json().trim_matches('"');
    let number = text
        .strip_prefix(ID_PREFIX)
        .and_then(|rest| rest.parse().ok());
    number.unwrap_or_default()
}

fn on_request(told: Option<(Message, &RequestId)>) -> Vec<Action> {
    let told = told.map(|(message, host)| Action::ToHost {
        message,
        request: Some(host.clone()),
    });
    told.into_iter().collect()
}

/// Returns the tool, prompt or resource of a request.
fn subject(params: &Object<'_>) -> Option<String> {
    params.string("name").or_else(|| params.string("uri"))
}

#[cfg(test)]
mod tests;
