//! Multi Round-Trip Requests: a server requires input before it responds, and the client retries
//! with it (2026-07-28, basic/patterns/mrtr).
//!
//! Owns: telling apart the request states of a connection, with which a host has to return to that
//! same connection, and the states of servers, which are valid on any connection.

use serde::Deserialize;

use crate::era::lenient;
use crate::{Message, json};

/// The prefix of Postern's request states and request ids.
pub(crate) const ID_PREFIX: &str = "postern:";

/// Returns the state in a result that requires input, if a connection keeps the request open for
/// it.
#[must_use]
pub fn kept_state(answer: &Message) -> Option<String> {
    if !json::contains(answer.bytes(), ID_PREFIX.as_bytes()) {
        return None;
    }
    let result: Stated = json::read(answer.result()?.get()).ok()?;
    let asks = result.result_type.as_deref() == Some("input_required");
    result.own().filter(|_| asks)
}

/// Returns the connection's state with which a host retries a request.
#[must_use]
pub fn resumed_state(request: &Message) -> Option<String> {
    if !json::contains(request.bytes(), ID_PREFIX.as_bytes()) {
        return None;
    }
    let params: Stated = json::read(request.params()?.get()).ok()?;
    params.own()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stated {
    #[serde(default, deserialize_with = "lenient")]
    result_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    request_state: Option<String>,
}

impl Stated {
    fn own(self) -> Option<String> {
        self.request_state
            .filter(|state| state.starts_with(ID_PREFIX))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    use super::{kept_state, resumed_state};
    use crate::Message;

    /// Builds a message with this body.
    pub(crate) fn message(body: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn connection_state_differs_from_server_state() {
        let state = Some("postern:n:1".to_owned());
        let asks =
            message(r#""result":{"resultType":"input_required","requestState":"postern:n:1"}"#);
        assert_eq!(kept_state(&asks), state);
        assert_eq!(resumed_state(&asks), None);
        let done = message(r#""result":{"resultType":"complete","requestState":"postern:n:1"}"#);
        assert_eq!(kept_state(&done), None);
        let other = message(
            r#""result":{"resultType":"input_required","requestState":"a","x":"postern:n:1"}"#,
        );
        assert_eq!(kept_state(&other), None);
        let again = message(r#""method":"m","params":{"requestState":"postern:n:1"}"#);
        assert_eq!(resumed_state(&again), state);
        assert_eq!(kept_state(&again), None);
    }
}
