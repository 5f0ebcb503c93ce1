//! The rounds in which a server is given what it needs before it answers (2026-07-28,
//! basic/patterns/mrtr).
//!
//! Owns: telling a state of ours, by which a host has to come back to the very connection that
//! gave it out, from the states of servers, which are good everywhere.

use serde::Deserialize;

use crate::era::lenient;
use crate::{Message, json};

/// How states of ours begin, and ids.
pub(crate) const ID_PREFIX: &str = "postern:";

/// The state that a result names whose request its connection keeps open.
#[must_use]
pub fn kept_state(answer: &Message) -> Option<String> {
    if !json::contains(answer.bytes(), ID_PREFIX.as_bytes()) {
        return None;
    }
    let result: Stated = json::read(answer.result()?.get()).ok()?;
    let asks = result.result_type.as_deref() == Some("input_required");
    result.own().filter(|_| asks)
}

/// The state of ours with which a request comes back.
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

    /// A message with this in it.
    pub(crate) fn message(body: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#);
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn a_state_of_ours_is_told_from_others() {
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
