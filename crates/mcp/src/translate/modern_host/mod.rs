//! A host without a handshake, and a server with one (2026-07-28, and up to 2025-11-25).
//!
//! Owns: which of the host's requests are at the server and under which ids, what the results
//! need that the older era does not have, and which notifications belong to which request. Its
//! parts: `session`, the handshake with the server; `request_meta`, what each request says of its host;
//! `input`, requests of the server to the host; `url_elicitation`, errors that are such; `subscriptions`,
//! subscriptions.
//!
//! The server has each request under an id of ours: what the server still works at may be
//! answered for the host already, and the host may use its id again.

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

/// What the older era has and this one gave up: a host that asks for it gets the answer that any
/// server of its era gives.
const REMOVED_METHODS: [&str; 5] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];
/// The methods whose results say how long they may be kept (server/utilities/caching).
const CACHEABLE: [&str; 5] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];
/// See the module.
#[derive(Debug)]
pub(crate) struct ModernHost {
    /// Tells the states of this connection from those of any other. Nobody can guess it.
    nonce: Arc<str>,
    /// Whether the server cannot but be of the older era.
    is_certain: bool,
    session: Session,
    /// What the server has, by the ids it has it under.
    calls: HashMap<RequestId, Call>,
    subscriptions: Subscriptions,
    /// How many ids of our own were used, and states.
    own: u64,
}

/// How a request ended.
type Outcome = Result<Message, UpstreamError>;

/// A request of the host that is not at the server.
#[derive(Debug)]
struct Waiting {
    request: Message,
    id: RequestId,
    meta: RequestMeta,
    /// What the server said to it when it was sent as it is.
    refusal: Option<Outcome>,
}

/// A request that is at the server.
#[derive(Debug)]
struct Call {
    /// As the host sent it, without what it says of the host.
    method: Arc<str>,
    /// The tool, the prompt or the resource.
    subject: Option<String>,
    /// The progress token that the server has, a JSON text.
    token: Option<String>,
    /// What the host said the last time it sent it.
    meta: RequestMeta,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The host waits for the answer under this id.
    Awaited { host: RequestId },
    /// The host was told what the server needs, and has not come back.
    Suspended {
        state: StateNumber,
        inputs: Vec<InputRequest>,
        /// The server has done without.
        outcome: Option<Outcome>,
    },
}

impl ModernHost {
    /// `nonce` has to be different for each connection, and impossible to guess; `is_certain` says
    /// whether the server cannot but be of the older era.
    pub(crate) fn new(nonce: Arc<str>, is_certain: bool) -> Self {
        Self {
            nonce,
            is_certain,
            session: Session::default(),
            calls: HashMap::new(),
            subscriptions: Subscriptions::default(),
            own: 0,
        }
    }

    /// What the host says.
    pub(crate) fn on_host(&mut self, message: Message) -> Vec<Action> {
        match message.kind() {
            Kind::Request { id, .. } => {
                let id = id.clone();
                self.on_request(message, id, None)
            }
            Kind::Notification { .. } => match message.cancels() {
                Some(id) => self.abandon(&id),
                // Its era has no others.
                None => Vec::new(),
            },
            // Nor has it responses of a host.
            Kind::Response { .. } | Kind::ErrorWithoutId => Vec::new(),
        }
    }

    /// A request that the server was sent as it is and has refused like one of the other era.
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

    /// Does what the host wants, in a session.
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

    /// What the server says: an answer, or something on the stream of the request `on`.
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

    /// Something that was sent did not get through.
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

    /// A request of ours or of the host's has its end at the server.
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

    /// Of a request that was sent as it is, or one that was given up.
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

    /// What the host is told of the end of its request.
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

    /// A result with what this era wants to be in it.
    fn completed(&self, method: &str, result: &str) -> String {
        let mut result = Object::parse(result);
        let mut fields = vec![("resultType", r#""complete""#)];
        if CACHEABLE.contains(&method) {
            // Nothing is known of how long it stays good, nor of whom else it may be shown.
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
            // It belongs to what this era gave up.
            "notifications/elicitation/complete" => Vec::new(),
            _ => {
                let call = on.and_then(|on| self.call_on(Some(on), |_| false));
                on_request(call.map(|(host, _)| (message.clone(), host)))
            }
        }
    }

    /// The call whose stream this is; where it is no call's, the newest one that fits. Only one
    /// that the host waits for.
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

    /// The host no longer wants the answer to this request.
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

    /// The host's end forgets the session; `gone` is what becomes of what needs it.
    pub(crate) fn reset(&mut self, gone: &UpstreamError) -> Vec<Action> {
        let mut actions = self.lose_session(gone);
        let held = self.calls.extract_if(|_, call| !is_awaited(call));
        actions.extend(held.map(|(at_server, _)| Action::Abandon(at_server)));
        actions
    }

    /// The host speaks the other era from now on: what it waits for in this one fails.
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

    /// What the server is to hear before the connection ends: that nobody waits any longer.
    pub(crate) fn closing_messages(&self) -> Vec<Message> {
        self.calls.keys().map(Message::cancellation).collect()
    }

    /// Whether the host waits for the answer to a request with this id.
    fn is_awaited(&self, id: &RequestId) -> bool {
        self.session.knows(id) || self.subscriptions.knows(id) || self.at_server(id).is_some()
    }

    /// The id under which the server has a request of the host.
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

/// Whether the host waits for the answer.
fn is_awaited(call: &Call) -> bool {
    matches!(call.stage, Stage::Awaited { .. })
}

/// How many ids of ours came before this one.
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

/// What a request is about: the tool, the prompt or the resource.
fn subject(params: &Object<'_>) -> Option<String> {
    params.string("name").or_else(|| params.string("uri"))
}

#[cfg(test)]
mod tests;
