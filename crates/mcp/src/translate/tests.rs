//! Helpers of the translation tests.

use bytes::Bytes;

use super::Action;
use crate::{Message, RequestId};

pub(super) fn text(json: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

pub(super) fn id(json: &str) -> RequestId {
    RequestId::from_json(json).unwrap()
}

/// Builds a request from the parts of its envelope that vary.
pub(super) fn request(id: &str, method: &str, params: &str) -> Message {
    text(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#
    ))
}

pub(super) fn notification(method: &str, params: &str) -> Message {
    text(&format!(
        r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#
    ))
}

pub(super) fn result(id: &str, result: &str) -> Message {
    text(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
    ))
}

pub(super) fn error(id: &str, code: i64) -> Message {
    text(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"}}}}"#
    ))
}

/// Shows actions as lines, without the common parts of the envelope.
pub(super) fn shown(actions: &[Action]) -> Vec<String> {
    actions.iter().map(line).collect()
}

fn line(action: &Action) -> String {
    match action {
        Action::ToServer(message) => format!("server: {}", bare(message)),
        Action::ToHost { message, request } => {
            let on = request.as_ref().map(|id| format!(" on {id}"));
            format!("host{}: {}", on.unwrap_or_default(), bare(message))
        }
        Action::Fail { request, failure } => match request {
            Some(id) => format!("fail {id}: {failure}"),
            None => format!("fail: {failure}"),
        },
        Action::Abandon(id) => format!("abandon {id}"),
        Action::ListenLater { failures } => format!("listen later, failures: {failures}"),
        Action::Listen => "listen".to_owned(),
        Action::StartInputTimeout(state) => format!("hold {state}"),
        Action::EraConfirmed => "right era".to_owned(),
        Action::EraRefuted => "wrong era".to_owned(),
    }
}

fn bare(message: &Message) -> String {
    let text = std::str::from_utf8(message.bytes()).unwrap();
    let bare = text.replacen(r#""jsonrpc":"2.0","#, "", 1);
    bare.trim_start_matches('{')
        .trim_end_matches('\n')
        .to_owned()
}

/// Returns the only message to the server.
pub(super) fn to_server(actions: &[Action]) -> Message {
    let mut sent = actions.iter().filter_map(|action| match action {
        Action::ToServer(message) => Some(message.clone()),
        _ => None,
    });
    let first = sent.next().expect("something is sent to the server");
    assert!(sent.next().is_none(), "{actions:?}");
    first
}
