//! What the server asks while it works at a request of the host: requests in the older era,
//! results that are not the last in this one (2026-07-28, basic/patterns/mrtr).
//!
//! The request stays open at the server until the host comes back with its answers. The state
//! that the host is given names it; nothing is in it that could be tampered with.

use std::sync::Arc;

use super::super::Action;
use super::super::input_request;
use super::super::splice::{Object, quoted};
use super::request_meta::Says;
use super::{ModernHost, OWN, Stage, is_awaited, number, subject};
use crate::message::{INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND};
use crate::{Message, RequestId};

/// Which of the states that this connection has given out.
pub(crate) type StateNumber = u64;

/// So many requests are kept open for hosts that have not come back; the oldest is given up for
/// one more.
pub(super) const MOST_HELD: usize = 64;

/// The requests of a host that may be answered with a question.
pub(super) const ASKING: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// Something that the server asked and has no answer to.
#[derive(Debug)]
pub(super) struct Question {
    /// Under which the host is asked.
    name: String,
    /// Of the server's request.
    id: RequestId,
    /// As the host is asked, a JSON text.
    wish: String,
}

impl Question {
    /// Tells the server that there will be no answer.
    pub(super) fn unanswered(&self) -> Action {
        let text = "the client no longer waits for this";
        refuse(&self.id, INTERNAL_ERROR, text)
    }
}

impl ModernHost {
    pub(super) fn on_question(
        &mut self,
        question: &Message,
        id: RequestId,
        method: &str,
        on: Option<&RequestId>,
    ) -> Vec<Action> {
        if method == "ping" {
            return vec![Action::ToServer(Message::raw_response(&id, "{}"))];
        }
        let wish = wish_of(question, method);
        let asked = self.asked_in(on);
        let Some((at_server, call)) = asked.and_then(|id| Some((id.clone(), self.calls.get(&id)?)))
        else {
            let text = "the client can only be asked while it waits for an answer";
            return vec![refuse(&id, INTERNAL_ERROR, text)];
        };
        let capabilities = Object::of(&call.says.capabilities);
        if input_request::missing(&capabilities, &Object::of(&wish)).is_some() {
            return vec![refuse(&id, METHOD_NOT_FOUND, "the client cannot do this")];
        }
        let host = match &call.stage {
            Stage::Awaited { host } => Some(host.clone()),
            Stage::Held { .. } => None,
        };
        self.own += 1;
        let question = Question {
            name: format!("input-{}", self.own),
            id,
            wish,
        };
        match host {
            Some(host) => self.hold(&at_server, &host, vec![question]),
            None => {
                self.ask_later(&at_server, question);
                Vec::new()
            }
        }
    }

    /// The request in which the host can be asked: the one on whose stream the server asks; where
    /// that is no request's, the newest, one that the host waits for before any other.
    fn asked_in(&self, on: Option<&RequestId>) -> Option<RequestId> {
        let asking = self.calls.iter();
        let asking = asking.filter(|(_, call)| ASKING.contains(&&*call.method));
        let found = asking.max_by_key(|(id, call)| (on == Some(id), is_awaited(call), number(id)));
        found.map(|(id, _)| id.clone())
    }

    fn ask_later(&mut self, at_server: &RequestId, question: Question) {
        let call = self.calls.get_mut(at_server);
        if let Some(Stage::Held { questions, .. }) = call.map(|call| &mut call.stage) {
            questions.push(question);
        }
    }

    /// Answers the host's request with what the server asks, and keeps it open at the server.
    fn hold(
        &mut self,
        at_server: &RequestId,
        host: &RequestId,
        questions: Vec<Question>,
    ) -> Vec<Action> {
        self.own += 1;
        let state = self.own;
        let mut wishes = Object::default();
        for question in &questions {
            wishes.put(&question.name, question.wish.as_str());
        }
        let mut result = Object::default();
        result.put("resultType", r#""input_required""#);
        result.put("inputRequests", wishes.text());
        let name = format!("{OWN}{}:{state}", self.nonce);
        result.put("requestState", quoted(&name));
        self.sign(&mut result);
        let answer = Message::raw_response(host, &result.text());
        if let Some(call) = self.calls.get_mut(at_server) {
            call.stage = Stage::Held {
                state,
                questions,
                outcome: None,
            };
        }
        let mut actions = vec![Action::answer(answer), Action::Hold(state)];
        actions.extend(self.make_room());
        actions
    }

    /// The host comes back with what it was asked for.
    pub(super) fn on_round(
        &mut self,
        request: &Message,
        host: &RequestId,
        says: Says,
        state: &str,
    ) -> Vec<Action> {
        let known = self.number_of(state).and_then(|state| self.held(state));
        let Some(at_server) = known else {
            let text = "the server no longer waits for this; hint: make the request again";
            return vec![Action::refusal(host, INVALID_PARAMS, text)];
        };
        let params = Object::of_raw(request.params());
        let Some(call) = self.calls.get_mut(&at_server) else {
            return Vec::new();
        };
        if request.method() != Some(&*call.method) || subject(&params) != call.subject {
            let text = "`requestState` is that of another request";
            return vec![Action::refusal(host, INVALID_PARAMS, text)];
        }
        call.says = says;
        let stage = Stage::Awaited { host: host.clone() };
        let Stage::Held {
            questions, outcome, ..
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
        for question in questions {
            match given.get(&question.name) {
                Some(answer) => {
                    let answer = Message::raw_response(&question.id, answer);
                    actions.push(Action::ToServer(answer));
                }
                None => open.push(question),
            }
        }
        if !open.is_empty() {
            actions.extend(self.hold(&at_server, host, open));
        }
        actions
    }

    /// The host has not come back with this state in time.
    pub(crate) fn expired(&mut self, state: StateNumber) -> Vec<Action> {
        match self.held(state) {
            Some(at_server) => self.give_up(&at_server),
            None => Vec::new(),
        }
    }

    /// The server no longer wants what it asked for.
    pub(super) fn withdraw(&mut self, cancelled: &Message) {
        let id = cancelled.cancels();
        for call in self.calls.values_mut() {
            if let Stage::Held { questions, .. } = &mut call.stage {
                questions.retain(|question| Some(&question.id) != id.as_ref());
            }
        }
    }

    fn make_room(&mut self) -> Vec<Action> {
        let held = self.calls.values().filter_map(|call| match call.stage {
            Stage::Held { state, .. } => Some(state),
            Stage::Awaited { .. } => None,
        });
        let held: Vec<_> = held.collect();
        match held.iter().min() {
            Some(oldest) if held.len() > MOST_HELD => self.expired(*oldest),
            Some(_) | None => Vec::new(),
        }
    }

    /// The request that is kept open for whoever comes back with this state.
    fn held(&self, state: StateNumber) -> Option<RequestId> {
        let is_it =
            |stage: &Stage| matches!(stage, Stage::Held { state: known, .. } if *known == state);
        let mut calls = self.calls.iter();
        let found = calls.find(|(_, call)| is_it(&call.stage));
        found.map(|(at_server, _)| at_server.clone())
    }

    fn number_of(&self, state: &str) -> Option<StateNumber> {
        let rest = state.strip_prefix(OWN)?;
        let rest = rest.strip_prefix(&*Arc::clone(&self.nonce))?;
        rest.strip_prefix(':')?.parse().ok()
    }
}

/// The server's request as a part of a result.
fn wish_of(question: &Message, method: &str) -> String {
    let mut wish = Object::default();
    wish.put("method", quoted(method));
    if let Some(params) = question.params() {
        let mut own = Object::of(params.get());
        if own.get("elicitationId").is_some() {
            // Gone with 2026-07-28.
            own.cut("elicitationId");
            wish.put("params", own.text());
        } else {
            wish.put("params", params.get());
        }
    }
    wish.text()
}

fn refuse(question: &RequestId, code: i64, text: &str) -> Action {
    Action::ToServer(Message::error_response(Some(question), code, text, None))
}
