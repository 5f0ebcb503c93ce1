//! Requests of the server while it processes a request of the host: requests to the client in the
//! legacy era, results with input requests in the modern era (2026-07-28, basic/patterns/mrtr).
//!
//! The request stays open at the server until the host retries with its input. The host's request
//! state only names that request, so tampering with it gains nothing.

use std::sync::Arc;

use super::super::Action;
use super::super::input_request;
use super::request_meta::RequestMeta;
use super::{ID_PREFIX, ModernHost, Stage, is_awaited, number, subject};
use crate::message::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::splice::{Object, quoted};
use crate::{Message, RequestId};

/// Numbers the request states of this connection.
pub(crate) type StateNumber = u64;

/// How many requests may be suspended at once. The oldest one is cancelled for one more.
pub(super) const MAX_SUSPENDED: usize = 64;

/// The methods whose results may require input.
pub(super) const MAY_REQUIRE_INPUT: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// An unanswered request of the server.
#[derive(Debug)]
pub(super) struct InputRequest {
    /// The key of the input request.
    name: String,
    /// The id of the server's request.
    id: RequestId,
    /// The input request as JSON text.
    json: String,
}

impl InputRequest {
    /// Responds to the server that there will be no input.
    pub(super) fn unanswered(&self) -> Action {
        let text = "the client no longer waits for this";
        refuse(&self.id, INTERNAL_ERROR, text)
    }
}

impl ModernHost {
    pub(super) fn on_server_request(
        &mut self,
        message: &Message,
        id: RequestId,
        method: &str,
        on: Option<&RequestId>,
    ) -> Vec<Action> {
        if method == "ping" {
            return vec![Action::ToServer(Message::raw_response(&id, "{}"))];
        }
        let json = input_request_from(message, method);
        let asked = self.call_for_input(on);
        let Some((at_server, call)) = asked.and_then(|id| Some((id.clone(), self.calls.get(&id)?)))
        else {
            let text = "the client can only be asked while one of its requests is pending";
            return vec![refuse(&id, INTERNAL_ERROR, text)];
        };
        let capabilities = Object::parse(&call.meta.capabilities);
        if input_request::missing_capability(&capabilities, &Object::parse(&json)).is_some() {
            return vec![refuse(
                &id,
                METHOD_NOT_FOUND,
                "the client does not support this",
            )];
        }
        let host = match &call.stage {
            Stage::Awaited { host } => Some(host.clone()),
            Stage::Suspended { .. } => None,
        };
        self.own += 1;
        let input = InputRequest {
            name: format!("input-{}", self.own),
            id,
            json,
        };
        match host {
            Some(host) => self.require_input(&at_server, &host, vec![input]),
            None => {
                self.queue_input_request(&at_server, input);
                Vec::new()
            }
        }
    }

    /// Returns the request whose result may carry an input request. That is the one on whose stream
    /// the server asks. If the stream is no request's, it is the newest one, and one that the host
    /// waits for is preferred.
    fn call_for_input(&self, on: Option<&RequestId>) -> Option<RequestId> {
        let asking = self.calls.iter();
        let asking = asking.filter(|(_, call)| MAY_REQUIRE_INPUT.contains(&&*call.method));
        let found = asking.max_by_key(|(id, call)| (on == Some(id), is_awaited(call), number(id)));
        found.map(|(id, _)| id.clone())
    }

    fn queue_input_request(&mut self, at_server: &RequestId, input: InputRequest) {
        let call = self.calls.get_mut(at_server);
        if let Some(Stage::Suspended { inputs, .. }) = call.map(|call| &mut call.stage) {
            inputs.push(input);
        }
    }

    /// Responds to the host's request with input requests, and suspends the request at the server.
    fn require_input(
        &mut self,
        at_server: &RequestId,
        host: &RequestId,
        inputs: Vec<InputRequest>,
    ) -> Vec<Action> {
        self.own += 1;
        let state = self.own;
        let mut requests = Object::default();
        for input in &inputs {
            requests.put(&input.name, input.json.as_str());
        }
        let mut result = Object::default();
        result.put("resultType", r#""input_required""#);
        result.put("inputRequests", requests.text());
        let name = format!("{ID_PREFIX}{}:{state}", self.nonce);
        result.put("requestState", quoted(&name));
        self.add_server_info(&mut result);
        let answer = Message::raw_response(host, &result.text());
        if let Some(call) = self.calls.get_mut(at_server) {
            call.stage = Stage::Suspended {
                state,
                inputs,
                outcome: None,
            };
        }
        let mut actions = vec![Action::answer(answer), Action::StartInputTimeout(state)];
        actions.extend(self.evict_oldest());
        actions
    }

    /// Handles the host's retry with its input.
    pub(super) fn on_retry(
        &mut self,
        request: &Message,
        host: &RequestId,
        meta: RequestMeta,
        state: &str,
    ) -> Vec<Action> {
        let known = self
            .number_of(state)
            .and_then(|state| self.suspended(state));
        let Some(at_server) = known else {
            let text = "the server no longer waits for this; hint: make the request again";
            return vec![Action::refusal(host, INVALID_PARAMS, text)];
        };
        let params = Object::from_raw(request.params());
        let Some(call) = self.calls.get_mut(&at_server) else {
            return Vec::new();
        };
        if request.method() != Some(&*call.method) || subject(&params) != call.subject {
            let text = "`requestState` is that of another request";
            return vec![Action::refusal(host, INVALID_PARAMS, text)];
        }
        call.meta = meta;
        let stage = Stage::Awaited { host: host.clone() };
        let Stage::Suspended {
            inputs, outcome, ..
        } = std::mem::replace(&mut call.stage, stage)
        else {
            return Vec::new();
        };
        if let Some(outcome) = outcome {
            return self.on_outcome(&at_server, outcome);
        }
        let given = params.object("inputResponses");
        let mut actions = Vec::new();
        let mut open = Vec::new();
        for input in inputs {
            match given.get(&input.name) {
                Some(answer) => {
                    let answer = Message::raw_response(&input.id, answer);
                    actions.push(Action::ToServer(answer));
                }
                None => open.push(input),
            }
        }
        if !open.is_empty() {
            actions.extend(self.require_input(&at_server, host, open));
        }
        actions
    }

    /// Cancels the request of a state that the host did not retry with in time.
    pub(crate) fn expired(&mut self, state: StateNumber) -> Vec<Action> {
        match self.suspended(state) {
            Some(at_server) => self.cancel_at_server(&at_server),
            None => Vec::new(),
        }
    }

    /// Removes the input request that the server cancelled.
    pub(super) fn remove_input_request(&mut self, cancelled: &Message) {
        let id = cancelled.cancels();
        for call in self.calls.values_mut() {
            if let Stage::Suspended { inputs, .. } = &mut call.stage {
                inputs.retain(|input| Some(&input.id) != id.as_ref());
            }
        }
    }

    fn evict_oldest(&mut self) -> Vec<Action> {
        let suspended = self.calls.values().filter_map(|call| match call.stage {
            Stage::Suspended { state, .. } => Some(state),
            Stage::Awaited { .. } => None,
        });
        let suspended: Vec<_> = suspended.collect();
        match suspended.iter().min() {
            Some(oldest) if suspended.len() > MAX_SUSPENDED => self.expired(*oldest),
            Some(_) | None => Vec::new(),
        }
    }

    /// Returns the suspended request with this state.
    fn suspended(&self, state: StateNumber) -> Option<RequestId> {
        let is_it = |stage: &Stage| matches!(stage, Stage::Suspended { state: known, .. } if *known == state);
        let mut calls = self.calls.iter();
        let found = calls.find(|(_, call)| is_it(&call.stage));
        found.map(|(at_server, _)| at_server.clone())
    }

    fn number_of(&self, state: &str) -> Option<StateNumber> {
        let rest = state.strip_prefix(ID_PREFIX)?;
        let rest = rest.strip_prefix(&*Arc::clone(&self.nonce))?;
        rest.strip_prefix(':')?.parse().ok()
    }
}

/// Converts the server's request to an input request.
fn input_request_from(message: &Message, method: &str) -> String {
    let mut json = Object::default();
    json.put("method", quoted(method));
    if let Some(params) = message.params() {
        let mut own = Object::parse(params.get());
        if own.get("elicitationId").is_some() {
            // Removed with 2026-07-28.
            own.cut("elicitationId");
            json.put("params", own.text());
        } else {
            json.put("params", params.get());
        }
    }
    json.text()
}

fn refuse(request: &RequestId, code: i64, text: &str) -> Action {
    Action::ToServer(Message::error_response(Some(request), code, text, None))
}
