//! Arrays of messages in one POST (2025-03-26, basic/transports).
//!
//! Owns: answering all requests of an array on one stream. Does not own: parsing the array (`mcp`),
//! or the responses.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::select_all;
use futures_util::{StreamExt, stream};
use mcp::{Batch, Kind, Message};
use tokio::sync::mpsc;

use super::response::{JSON, events, in_use, session_gone, until_answered};
use super::response_router::ResponseRouter;
use crate::background::Background;
use crate::session::HostMessage;

/// Passes each message to the session. Answers all requests on one stream, each as soon as its
/// response is there. An array without a request is accepted when the session has it.
pub(super) async fn exchange(
    background: &Background,
    to: &mpsc::Sender<Message>,
    responses: &Arc<ResponseRouter>,
    batch: Batch,
) -> Response {
    let (mut messages, mut answers, mut invalid) = (Vec::new(), Vec::new(), Vec::new());
    for element in batch {
        let message = match element {
            Ok(message) => message,
            Err(error) => {
                invalid.push(error.to_response());
                continue;
            }
        };
        if let Kind::Request { id, .. } = message.kind() {
            match responses.open(id.clone()) {
                Some(from) => answers.push(until_answered(from).boxed()),
                None => {
                    invalid.push(in_use(id));
                    continue;
                }
            }
        }
        messages.push(message);
    }
    let sending = send(to.clone(), Arc::clone(responses), messages);
    if answers.is_empty() {
        return match sending.await {
            true => refusal(&invalid).unwrap_or_else(|| StatusCode::ACCEPTED.into_response()),
            false => session_gone(),
        };
    }
    // Reads the responses meanwhile: the session waits for a host that does not read them.
    background.spawn(async move {
        sending.await;
    });
    let errors = invalid.into_iter().map(|message| HostMessage {
        message,
        request: None,
        sent: None,
    });
    events(stream::iter(errors).chain(select_all(answers)), None)
}

/// Returns false if the session has ended.
async fn send(
    to: mpsc::Sender<Message>,
    responses: Arc<ResponseRouter>,
    messages: Vec<Message>,
) -> bool {
    for message in messages {
        let cancelled = message.cancels();
        if !matches!(message.kind(), Kind::Request { .. }) {
            responses.record_message();
        }
        if to.send(message).await.is_err() {
            return false;
        }
        if let Some(id) = cancelled {
            responses.close(&id);
        }
    }
    true
}

/// Returns the response to an array that has these errors and no request. Returns `None` if there
/// are no errors.
pub(super) fn refusal(invalid: &[Message]) -> Option<Response> {
    let texts: Vec<_> = invalid
        .iter()
        .map(|error| String::from_utf8_lossy(error.bytes()))
        .collect();
    let body = match &*texts {
        [] => return None,
        [one] => one.to_string(),
        several => format!("[{}]", several.join(",")),
    };
    Some((StatusCode::BAD_REQUEST, [JSON], body).into_response())
}
