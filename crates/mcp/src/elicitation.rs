//! Elicitations of the bridge: it asks a host to show the user a page (2025-11-25 and 2026-07-28,
//! client/elicitation, "URL Mode Elicitation Requests").
//!
//! Owns: the bridge's elicitation in both eras, and the host's action. Does not own: elicitations
//! of servers, which pass unchanged (or through `translate` between the eras), and what the page is
//! for.
//!
//! The request state that a host of the modern era gets names the elicitation and nothing else. Its
//! prefix differs from that of a connection's states (`mrtr`), because it is valid on any
//! connection.

use serde_json::json;

use crate::handshake::InitializeParams;
use crate::meta::META_CLIENT_CAPABILITIES;
use crate::splice::Object;
use crate::{Era, Message, RequestId, json};

/// The prefix of the bridge's elicitation ids.
const ID_PREFIX: &str = "postern-page:";

/// The key of the bridge's input request in a result.
const PAGE: &str = "page";

/// The action that the host reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElicitationAction {
    /// The user accepted: the host shows the page.
    Accepted,
    /// The user declined, or dismissed the elicitation.
    Declined,
    /// The host cannot show the elicitation.
    Unable,
}

/// A request that a host retries after an elicitation of the bridge.
#[derive(Clone, Debug)]
pub struct ElicitationRetry {
    /// The id of the elicitation.
    pub id: String,
    /// The user's action. `None` if the host sent none.
    pub answer: Option<ElicitationAction>,
    /// The original request under the id of the retry, without the input responses and the state,
    /// which are not for the server.
    pub request: Message,
}

/// Returns an elicitation id. `unique` has to be impossible to guess.
#[must_use]
pub fn name(unique: &str) -> String {
    format!("{ID_PREFIX}{unique}")
}

/// Returns true if the host of an `initialize` request supports URL elicitation.
#[must_use]
pub fn is_offered(initialize: &Message) -> bool {
    let capabilities =
        InitializeParams::from_request(initialize).and_then(|params| params.capabilities);
    has_url_mode(&Object::from_raw(capabilities))
}

/// Returns true if an elicitation may answer this request of the modern era. A request that answers
/// an input request of the server must not be answered so, because the retry would lack that input
/// response.
#[must_use]
pub fn may_ask(request: &Message) -> bool {
    let params = Object::from_raw(request.params());
    let has = |name: &str| params.get(name).is_some();
    request.method() == Some("tools/call")
        && !has("requestState")
        && !has("inputResponses")
        && is_declared(request)
}

/// Returns true if this request of the modern era declares support for URL elicitation.
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

/// Builds the elicitation request for a host of the legacy era.
#[must_use]
pub fn request(name: &str, url: &str, text: &str) -> Message {
    let params = json!({ "mode": "url", "elicitationId": name, "url": url, "message": text });
    Message::request(&RequestId::string(name), "elicitation/create", Some(params))
}

/// Builds the result that requests the input from a host of the modern era, as the response to
/// `id`.
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

/// Builds the notification that tells a host of the legacy era that the elicitation is complete.
#[must_use]
pub fn completed(name: &str) -> Message {
    let params = json!({ "elicitationId": name });
    Message::notification("notifications/elicitation/complete", Some(params))
}

/// Returns the action in the response of a host of the legacy era.
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
    /// Parses a retried request. Returns `None` for any message without a state of the bridge.
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
    fn only_hosts_that_declare_url_mode_are_asked() {
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
    fn retry_yields_original_request() {
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
    fn error_response_means_host_is_unable() {
        let error = message(r#""error":{"code":-32602,"message":"no"}"#);
        assert_eq!(action(&error), ElicitationAction::Unable);
        let result = message(r#""result":{"action":"decline"}"#);
        assert_eq!(action(&result), ElicitationAction::Declined);
    }
}
