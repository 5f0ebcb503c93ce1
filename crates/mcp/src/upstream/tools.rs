//! What a client of the modern era must know about a tool before it calls it (2026-07-28,
//! Streamable HTTP, "Custom Headers from Tool Parameters").
//!
//! Owns: learning from `tools/list` responses, and requesting a list after a call was refused
//! because of its headers. Does not own: the rules of those headers ([`crate::ToolHeaders`]).

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

/// A server's list is read up to this many pages.
const MAX_PAGES: usize = 100;
/// Never collides with a host's id, because the response stays inside the connection.
const ID: &str = "postern-tools";

impl Shared {
    /// Returns the headers that repeat parameters of a call.
    pub(super) fn parameter_headers(&self, outgoing: &Outgoing) -> Vec<(HeaderName, HeaderValue)> {
        match outgoing.era() {
            Era::Modern => self.learned.tools.for_call(&outgoing.message),
            Era::Legacy => Vec::new(),
        }
    }

    /// Returns the response as the host may see it: without the tools that a client must not use.
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
            tracing::warn!(server = %self.url.shown(), tool, flaw, "removed a tool with an invalid header annotation");
        }
        filtered.answer
    }

    /// Learns the headers that the tools require, after this call was refused because of its
    /// headers.
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

    /// Learns from one page. Returns the cursor of the next page, or `None` if there is none.
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

/// Returns true if a call was refused because of its headers, before it did anything.
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

/// Returns parameters with the host's identity from the call's `_meta`, and nothing else.
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
