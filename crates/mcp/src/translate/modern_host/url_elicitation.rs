//! A URL that the user has to open before the server can respond: an error in the legacy era
//! (2025-11-25, client/elicitation, "URL Elicitation Required Error"), a result with input requests
//! in the modern era.
//!
//! The server has finished the request, and gets it again as a new one when the host retries. So
//! nothing is stored, and the host may retry over any connection. Whether the user is done is for
//! the server to decide: it may require the same again, as modern servers may.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Action;
use super::super::input_request;
use super::input::MAY_REQUIRE_INPUT;
use super::{Call, ModernHost};
use crate::message::INVALID_PARAMS;
use crate::mrtr::ID_PREFIX;
use crate::splice::Object;
use crate::{Message, RequestId, json};

/// The error of the legacy era. The modern era has none in its place.
const URL_ELICITATION_REQUIRED: i64 = -32042;

/// The prefix of the keys of these input requests, after [`ID_PREFIX`].
const NAME: &str = "visit-";

#[derive(Deserialize)]
struct Required<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    elicitations: Vec<&'a RawValue>,
}

impl ModernHost {
    /// Returns the result with input requests in place of this error. Returns `None` for any other
    /// response.
    pub(super) fn required(
        &self,
        call: &Call,
        host: &RequestId,
        answer: &Message,
    ) -> Option<Action> {
        let is_it = answer.error_code() == Some(URL_ELICITATION_REQUIRED);
        if !is_it || !MAY_REQUIRE_INPUT.contains(&&*call.method) {
            return None;
        }
        let required: Required<'_> = json::read(answer.error()?.get()).ok()?;
        let mut requests = Object::default();
        for (at, elicitation) in required.data.elicitations.iter().enumerate() {
            let request = input_request_from(elicitation);
            let capabilities = Object::parse(&call.meta.capabilities);
            if let Some(missing) = input_request::missing_capability(&capabilities, &request) {
                return Some(Action::answer(input_request::missing_capability_error(
                    host, &missing,
                )));
            }
            requests.put(&format!("{ID_PREFIX}{NAME}{}", at + 1), request.text());
        }
        if requests.is_empty() {
            return None;
        }
        let mut result = Object::default();
        result.put("resultType", r#""input_required""#);
        result.put("inputRequests", requests.text());
        self.add_server_info(&mut result);
        Some(Action::answer(Message::raw_response(host, &result.text())))
    }
}

/// Returns the error for a retry whose user declined to open the URL, because the server would only
/// require it again. Returns `None` if no URL was declined.
pub(super) fn declined(host: &RequestId, params: &Object<'_>) -> Option<Action> {
    let given = params.object("inputResponses");
    let is_declined = given.members().any(|(name, answer)| {
        let is_url_elicitation = name
            .strip_prefix(ID_PREFIX)
            .is_some_and(|name| name.starts_with(NAME));
        is_url_elicitation && Object::parse(answer).string("action").as_deref() != Some("accept")
    });
    let text = "the user declined to open the URL that the server requires";
    is_declined.then(|| Action::refusal(host, INVALID_PARAMS, text))
}

fn input_request_from(elicitation: &RawValue) -> Object<'static> {
    let mut params = Object::parse(elicitation.get());
    // All of them are of this mode. The id was removed with 2026-07-28.
    params.put("mode", r#""url""#);
    params.cut("elicitationId");
    let mut request = Object::default();
    request.put("method", r#""elicitation/create""#);
    request.put("params", params.text());
    request
}
