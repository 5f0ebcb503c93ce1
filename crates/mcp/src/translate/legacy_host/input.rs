//! Input that a server requires of the host before it responds: requests to the host in the legacy
//! era, results with input requests in the modern era (2026-07-28, basic/patterns/mrtr).

use std::collections::HashMap;

use super::super::Action;
use super::super::input_request;
use super::{Call, LegacyHost, Stage};
use crate::message::INTERNAL_ERROR;
use crate::splice::{Object, with};
use crate::{Message, RequestId};

/// The limit of rounds for one request. A server beyond it is not going to respond.
pub(super) const MAX_ROUNDS: u32 = 64;

/// The input requests of a server, until all are answered.
#[derive(Debug)]
pub(super) struct PendingInput {
    /// The request state, returned to the server unchanged.
    state: Option<String>,
    /// The server's keys of the unanswered input requests, by the ids of the requests to the host.
    missing: HashMap<RequestId, String>,
    /// The host's responses, an object by the server's keys.
    given: Object<'static>,
}

impl PendingInput {
    /// Cancels the unanswered requests to the host.
    pub(super) fn cancellations(self) -> Vec<Action> {
        let cancel = |id: RequestId| Action::ToHost {
            message: Message::cancellation(&id),
            request: None,
        };
        self.missing.into_keys().map(cancel).collect()
    }
}

impl LegacyHost {
    /// Handles a result with input requests: sends them to the host.
    pub(super) fn on_input_required(
        &mut self,
        host: &RequestId,
        result: &Object<'_>,
    ) -> Vec<Action> {
        let Some(mut call) = self.calls.remove(host) else {
            return Vec::new();
        };
        call.rounds += 1;
        if call.rounds > MAX_ROUNDS {
            let text = "the server keeps requesting input and does not respond";
            return vec![Action::refusal(host, INTERNAL_ERROR, text)];
        }
        let wanted = result.object("inputRequests");
        let capabilities = Object::parse(&self.meta.capabilities);
        for (_, request) in wanted.members() {
            if let Some(missing) =
                input_request::missing_capability(&capabilities, &Object::parse(request))
            {
                return vec![Action::answer(input_request::missing_capability_error(
                    host, &missing,
                ))];
            }
        }
        let mut pending = PendingInput {
            state: result.get("requestState").map(str::to_owned),
            missing: HashMap::new(),
            given: Object::default(),
        };
        let mut actions = Vec::new();
        for (name, request) in wanted.members() {
            let id = self.new_id("input");
            actions.push(Action::ToHost {
                message: request_to_host(&id, &Object::parse(request)),
                request: Some(host.clone()),
            });
            pending.missing.insert(id, name);
        }
        call.stage = Stage::PendingInput(pending);
        if actions.is_empty() {
            return self.retry(call).into_iter().collect();
        }
        self.calls.insert(host.clone(), call);
        actions
    }

    /// Handles the host's response to an input request.
    pub(super) fn on_input(&mut self, id: &RequestId, answer: &Message) -> Vec<Action> {
        let mut calls = self.calls.iter();
        let asked = calls.find_map(|(host, call)| match &call.stage {
            Stage::PendingInput(pending) => pending.missing.contains_key(id).then_some(host),
            Stage::AtServer { .. } | Stage::Unsent { .. } => None,
        });
        let Some(mut call) = asked.cloned().and_then(|host| self.calls.remove(&host)) else {
            return Vec::new();
        };
        let (Stage::PendingInput(pending), Some(host)) = (&mut call.stage, call.request.id())
        else {
            return Vec::new();
        };
        let host = host.clone();
        let Some(name) = pending.missing.remove(id) else {
            return Vec::new();
        };
        let Some(result) = answer.result() else {
            // The modern era has no input response for an error.
            let failed = answer.error_for(&host).map(Action::answer);
            let Stage::PendingInput(pending) = call.stage else {
                return Vec::new();
            };
            return failed.into_iter().chain(pending.cancellations()).collect();
        };
        pending.given.put(&name, result.get().to_owned());
        if pending.missing.is_empty() {
            return self.retry(call).into_iter().collect();
        }
        self.calls.insert(host, call);
        Vec::new()
    }

    /// Retries the request with the host's input, under an id of its own.
    fn retry(&mut self, mut call: Call) -> Option<Action> {
        let Stage::PendingInput(pending) = &call.stage else {
            return None;
        };
        let host = call.request.id()?.clone();
        let mut params = self.params(&call.request);
        if !pending.given.is_empty() {
            params.put("inputResponses", pending.given.text());
        }
        if let Some(state) = &pending.state {
            params.put("requestState", state.clone());
        }
        let params = params.text();
        let sent = with(&call.request, Some(&self.new_id("round")), &params);
        call.stage = Stage::AtServer { sent: sent.clone() };
        self.calls.insert(host, call);
        Some(Action::ToServer(sent))
    }
}

/// Builds the request to the host for a server's input request.
fn request_to_host(id: &RequestId, request: &Object<'_>) -> Message {
    let method = request.string("method").unwrap_or_default();
    let mut params = request.object("params");
    if method == "elicitation/create"
        && params.string("mode").as_deref() == Some("url")
        && params
            .string("elicitationId")
            .unwrap_or_default()
            .is_empty()
    {
        // Required up to 2025-11-25 and removed since. Some servers leave it empty.
        params.put("elicitationId", id.as_json().to_owned());
        return Message::raw_request(id, &method, Some(&params.text()));
    }
    Message::raw_request(id, &method, request.get("params"))
}
