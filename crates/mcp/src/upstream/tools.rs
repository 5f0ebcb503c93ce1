//! What the modern era wants to be known of a server's tools before one is called (2026-07-28,
//! Streamable HTTP, "Custom Headers from Tool Parameters").
//!
//! Owns: learning from answers to `tools/list`, and asking for one where a call was refused for
//! its headers. Does not own: the rules of those headers ([`crate::ToolHeaders`]).

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::outgoing::{HttpSession, Outgoing};
use super::response::{self, RequestContext, ResponseBody};
use super::stream::EventStream;
use super::{Shared, UpstreamError};
use crate::era::HEADER_MISMATCH;
use crate::meta::{META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_PROTOCOL_VERSION};
use crate::{Era, Message, RequestId, json};

/// A server that goes on beyond so many pages is not followed.
const MAX_PAGES: usize = 100;
/// Met by nobody: the answer never reaches the connection's user.
const ID: &str = "postern-tools";

impl Shared {
    /// What of its parameters a call repeats in headers.
    pub(super) fn parameter_headers(&self, outgoing: &Outgoing) -> Vec<(HeaderName, HeaderValue)> {
        match outgoing.era() {
            Era::Modern => self.learned.tools.for_call(&outgoing.message),
            Era::Legacy => Vec::new(),
        }
    }

    /// The answer to a request as its client is to see it: without the tools that it must not
    /// use.
    pub(super) fn filtered(&self, request: &Outgoing, answer: Message) -> Message {
        let is_list = request.message.method() == Some("tools/list");
        let is_answer = request.message.id().is_some_and(|id| answer.answers(id));
        if !is_list || request.era() == Era::Legacy || !is_answer {
            return answer;
        }
        let Some(filtered) = self.learned.tools.learn(&answer) else {
            return answer;
        };
        for (tool, flaw) in &filtered.rejected {
            tracing::warn!(server = %self.url.shown(), tool, flaw, "the tool is left out");
        }
        filtered.answer
    }

    /// Asks what the tools want now, after this call was refused for its headers.
    pub(super) async fn list_tools(&self, call: &Outgoing) {
        let Some(mut params) = list_params(&call.message) else {
            return;
        };
        for _ in 0..MAX_PAGES {
            let id = RequestId::string(ID);
            let list = Message::request(&id, "tools/list", Some(Value::Object(params.clone())));
            let Some(next) = self.list_page(call.with_message(list)).await else {
                return;
            };
            params.insert("cursor".to_owned(), next.into());
        }
    }

    /// Learns from one page; returns what asks for the next one.
    async fn list_page(&self, list: Outgoing) -> Option<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            next_cursor: Option<String>,
        }
        let session = HttpSession::default();
        let response = self.post(&list, &session, Vec::new()).await.ok()?;
        let context = RequestContext {
            id: list.message.id(),
            session: None,
        };
        let read = response::read(response, context, self.client.limit(), &self.memory).await;
        let answer = match read.ok()? {
            ResponseBody::Message(message) => message,
            ResponseBody::Events(stream) => response_in_stream(*stream, list.message.id()?).await?,
            ResponseBody::Batch(mut batch) => {
                let id = list.message.id()?;
                batch.find_map(|one| one.ok().filter(|message| message.answers(id)))?
            }
            ResponseBody::Nothing => return None,
        };
        let page = json::read::<Page>(answer.result()?.get()).ok();
        self.filtered(&list, answer);
        page?.next_cursor
    }
}

/// Whether a call was refused for its headers, before anything was done.
pub(super) fn is_mismatch(call: &Outgoing, outcome: &Result<ResponseBody, UpstreamError>) -> bool {
    let (Ok(ResponseBody::Message(refusal))
    | Err(UpstreamError::Rejected {
        body: Some(refusal),
        ..
    })) = outcome
    else {
        return false;
    };
    call.era() == Era::Modern
        && call.message.method() == Some("tools/call")
        && refusal.error_code() == Some(HEADER_MISMATCH)
}

async fn response_in_stream(mut stream: EventStream, id: &RequestId) -> Option<Message> {
    loop {
        let message = stream.message().await.ok()?;
        if message.answers(id) {
            return Some(message);
        }
    }
}

/// The call's own word on who calls, and nothing else of it.
fn list_params(call: &Message) -> Option<Map<String, Value>> {
    let params: Value = json::read(call.params()?.get()).ok()?;
    let kept = [
        META_PROTOCOL_VERSION,
        META_CLIENT_INFO,
        META_CLIENT_CAPABILITIES,
    ];
    let meta = kept
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), params.get("_meta")?.get(key)?.clone())));
    let meta = Value::Object(meta.collect());
    Some(Map::from_iter([("_meta".to_owned(), meta)]))
}
