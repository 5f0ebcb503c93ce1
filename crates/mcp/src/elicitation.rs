//! Asking a host to show its person a page (2025-11-25 and 2026-07-28, client/elicitation, "URL
//! Mode Elicitation Requests").
//!
//! Owns: the question of ours in either era, and what a host answers. Does not own: questions of
//! servers, which pass as they are (`translate` between the eras), or what the page is for.
//!
//! The state that a host of the modern era is given names the question and nothing else. It does
//! not begin as the states of connections do (`mrtr`), because it is good on any of them.

use serde_json::json;

use crate::handshake::InitializeParams;
use crate::meta::META_CLIENT_CAPABILITIES;
use crate::splice::Object;
use crate::{Era, Message, RequestId, json};

/// How the names of our questions begin.
const ID_PREFIX: &str = "postern-page:";

/// The name of the one question in a result that asks it.
const PAGE: &str = "page";

/// What a host said to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElicitationAction {
    /// It shows the page.
    Accepted,
    /// Its person does not want to see it, or has dismissed the question.
    Declined,
    /// It cannot ask its person that.
    Unable,
}

/// A request with which a host comes back from our question.
#[derive(Clone, Debug)]
pub struct ElicitationRetry {
    /// Of the question.
    pub id: String,
    /// What the host says to it; `None` if it says nothing.
    pub answer: Option<ElicitationAction>,
    /// The request as it was before, but for its id: nothing of ours goes on to the server.
    pub request: Message,
}

/// The name of a question. `unique` has to be impossible to guess.
#[must_use]
pub fn name(unique: &str) -> String {
    format!("{ID_PREFIX}{unique}")
}

/// Whether the host of an `initialize` can be asked.
#[must_use]
pub fn is_offered(initialize: &Message) -> bool {
    let capabilities =
        InitializeParams::from_request(initialize).and_then(|params| params.capabilities);
    has_url_mode(&Object::from_raw(capabilities))
}

/// Whether this request of the modern era can be answered with the question. One that answers a
/// question of the server cannot: its host would come back without that answer.
#[must_use]
pub fn may_ask(request: &Message) -> bool {
    let params = Object::from_raw(request.params());
    let has = |name: &str| params.get(name).is_some();
    request.method() == Some("tools/call")
        && !has("requestState")
        && !has("inputResponses")
        && is_declared(request)
}

/// Whether the host of this request of the modern era can be asked, with whatever call it makes.
#[must_use]
pub fn is_declared(request: &Message) -> bool {
    let params = Object::from_raw(request.params());
    let meta = params.object("_meta");
    Era::from_message(request) == Era::Modern
        && has_url_mode(&meta.object(META_CLIENT_CAPABILITIES))
}

fn has_url_mode(capabilities: &Object<'_>) -> bool {
    capabilities.object("elicitation").get("url").is_some()
}

/// The question as a request to a host of the legacy era, under its name.
#[must_use]
pub fn request(name: &str, url: &str, text: &str) -> Message {
    let params = json!({ "mode": "url", "elicitationId": name, "url": url, "message": text });
    Message::request(&RequestId::string(name), "elicitation/create", Some(params))
}

/// The question as the answer to the request `id` of a host of the modern era.
#[must_use]
pub fn required(id: &RequestId, name: &str, url: &str, text: &str) -> Message {
    let params = json!({ "mode": "url", "url": url, "message": text });
    let result = json!({
        "resultType": "input_required",
        "inputRequests": { PAGE: { "method": "elicitation/create", "params": params } },
        "requestState": name,
    });
    Message::response(id, &result)
}

/// Tells a host of the legacy era that what its person did on the page is done.
#[must_use]
pub fn completed(name: &str) -> Message {
    let params = json!({ "elicitationId": name });
    Message::notification("notifications/elicitation/complete", Some(params))
}

/// What the answer of a host of the legacy era says.
#[must_use]
pub fn action(response: &Message) -> ElicitationAction {
    match response.result() {
        Some(result) => result_action(&Object::parse(result.get())),
        None => ElicitationAction::Unable,
    }
}

fn result_action(result: &Object<'_>) -> ElicitationAction {
    match result.string("action").as_deref() {
        Some("accept") => ElicitationAction::Accepted,
        Some(_) | None => ElicitationAction::Declined,
    }
}

impl ElicitationRetry {
    /// Of a request with the state of a question of ours; `None` for any other message.
    #[must_use]
    pub fn from_request(message: &Message) -> Option<Self> {
        if !json::contains(message.bytes(), ID_PREFIX.as_bytes()) {
            return None;
        }
        let mut params = Object::from_raw(message.params());
        let id = params.string("requestState")?;
        if !id.starts_with(ID_PREFIX) {
            return None;
        }
        let given = params.object("inputResponses");
        let answer = given
            .get(PAGE)
            .map(|given| result_action(&Object::parse(given)));
        for ours in ["requestState", "inputResponses"] {
            params.cut(ours);
        }
        let request = Message::raw_request(message.id()?, message.method()?, Some(&params.text()));
        Some(Self {
            id,
            answer,
            request,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ElicitationAction, ElicitationRetry, action, is_declared, is_offered, may_ask, name,
        required,
    };
    use crate::mrtr::tests::message;
    use crate::{RequestId, mrtr};

    #[test]
    fn hosts_are_asked_that_say_so() {
        for (capability, is_able) in [
            (r#""elicitation":{"url":{}}"#, true),
            (r#""elicitation":{"form":{}}"#, false),
            (r#""elicitation":{}"#, false),
            (r#""url":{}"#, false),
        ] {
            let hello = format!(
                r#""method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{{capability}}}}}"#
            );
            assert_eq!(is_offered(&message(&hello)), is_able, "{capability}");
            let call = |method: &str, more: &str| {
                message(&format!(
                    r#""method":"{method}","params":{{{more}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{{capability}}}}}}}"#
                ))
            };
            assert_eq!(may_ask(&call("tools/call", "")), is_able, "{capability}");
            assert!(!may_ask(&call("tools/list", "")));
            assert_eq!(is_declared(&call("tools/list", "")), is_able);
            assert!(!may_ask(&call("tools/call", r#""requestState":"s","#)));
            assert!(!may_ask(&call("tools/call", r#""inputResponses":{},"#)));
        }
    }

    #[test]
    fn what_comes_back_is_the_request_as_it_was() {
        let id = name("x");
        let question = required(&RequestId::number(1), &id, "https://a.example/", "Go there");
        assert_eq!(mrtr::kept_state(&question), None, "good on any connection");
        let back = |more: &str| {
            let params = format!(r#""a" : 1.0,{more}"requestState":"{id}","name":"t""#);
            let back = ElicitationRetry::from_request(&message(&format!(
                r#""method":"tools/call","params":{{{params}}}"#
            )));
            let back = back.unwrap();
            assert_eq!(back.id, id);
            let params = back.request.params().unwrap().get();
            assert_eq!(params, r#"{"a":1.0,"name":"t"}"#);
            back.answer
        };
        let given = |answer: &str| back(&format!(r#""inputResponses":{{"page":{answer}}},"#));
        assert_eq!(
            given(r#"{"action":"accept"}"#),
            Some(ElicitationAction::Accepted)
        );
        assert_eq!(
            given(r#"{"action":"cancel"}"#),
            Some(ElicitationAction::Declined)
        );
        assert_eq!(given("7"), Some(ElicitationAction::Declined));
        assert_eq!(back(""), None);
        let other = message(r#""method":"tools/call","params":{"requestState":"postern:n:1"}"#);
        assert!(ElicitationRetry::from_request(&other).is_none());
    }

    #[test]
    fn an_error_says_that_nobody_was_asked() {
        let error = message(r#""error":{"code":-32602,"message":"no"}"#);
        assert_eq!(action(&error), ElicitationAction::Unable);
        let result = message(r#""result":{"action":"decline"}"#);
        assert_eq!(action(&result), ElicitationAction::Declined);
    }
}
