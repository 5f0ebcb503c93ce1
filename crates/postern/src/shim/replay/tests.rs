use bytes::Bytes;
use control::api::{Problem, ProblemKind};
use mcp::{Kind, Message, RequestId};

use super::{MAX_QUEUED, MAX_QUEUED_BYTES, MAX_REPLAYS, ReplayState};

const MAX_LENGTH: usize = 1024;
const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"x", "n":1.0}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;

/// Takes all messages that can be sent and marks them as sent.
fn drain(state: &mut ReplayState) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(message) = state.next_to_send() {
        state.mark_sent(&message);
        lines.push(text(&message));
    }
    lines
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

fn from_host(state: &mut ReplayState, lines: &[&str]) {
    for line in lines {
        assert!(
            state
                .receive_from_host(Bytes::copy_from_slice(line.as_bytes()))
                .is_empty(),
            "{line}"
        );
    }
}

fn from_bridge(state: &mut ReplayState, line: &str) -> Option<Bytes> {
    state
        .receive_from_bridge(Bytes::copy_from_slice(line.as_bytes()))
        .unwrap()
}

/// Returns the state of a session after the handshake.
fn established() -> ReplayState {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE]);
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
    assert_eq!(from_bridge(&mut state, ANSWER).unwrap(), ANSWER);
    from_host(&mut state, &[INITIALIZED]);
    assert_eq!(drain(&mut state), [INITIALIZED]);
    state
}

fn problem() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no snippets").with_hint("add it")
}

#[test]
fn queued_messages_are_sent_in_order_and_unchanged() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE, CALL]);
    assert!(drain(&mut state).is_empty());
    assert!(state.needs_bridge() && state.has_pending());
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE, CALL]);
    let odd = r#"{ "jsonrpc":"2.0", "id":"\u0063", "result":{"n":1.0,"unknown":true} }"#;
    assert_eq!(from_bridge(&mut state, odd).unwrap(), odd);
    assert!(from_bridge(&mut state, ANSWER).is_some());
    assert!(!state.has_pending() && !state.needs_bridge());
}

#[test]
fn handshake_is_replayed_and_hidden_from_host() {
    let mut state = established();
    assert!(state.bridge_lost(None).is_empty());
    from_host(&mut state, &[CALL]);
    state.bridge_connected();
    // No message is sent before the handshake.
    assert_eq!(text(&state.next_to_send().unwrap()), INITIALIZE);
    assert!(state.next_to_send().is_none());
    assert!(from_bridge(&mut state, ANSWER).is_none());
    assert_eq!(drain(&mut state), [INITIALIZED, CALL]);
    let answer = r#"{"jsonrpc":"2.0","id":"c","result":{}}"#;
    assert_eq!(from_bridge(&mut state, answer).unwrap(), answer);
}

#[test]
fn lost_bridge_during_replay_keeps_handshake() {
    let mut state = established();
    for sent in [true, false] {
        assert!(state.bridge_lost(None).is_empty());
        state.bridge_connected();
        let initialize = state.next_to_send().unwrap();
        if sent {
            state.mark_sent(&initialize);
        } else {
            state.requeue(initialize);
        }
    }
    assert!(state.bridge_lost(None).is_empty());
    state.bridge_connected();
    assert_eq!(text(&state.next_to_send().unwrap()), INITIALIZE);
    assert!(from_bridge(&mut state, ANSWER).is_none());
    assert_eq!(drain(&mut state), [INITIALIZED]);
}

#[test]
fn unanswered_initialize_is_sent_again_and_its_response_shown() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE]);
    state.bridge_connected();
    drain(&mut state);
    assert!(state.bridge_lost(None).is_empty());
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
    assert_eq!(from_bridge(&mut state, ANSWER).unwrap(), ANSWER);
}

#[test]
fn initialized_without_bridge_is_sent_once() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE]);
    state.bridge_connected();
    drain(&mut state);
    from_bridge(&mut state, ANSWER);
    state.bridge_lost(None);
    from_host(&mut state, &[INITIALIZED, LIST]);
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
    from_bridge(&mut state, ANSWER);
    assert_eq!(drain(&mut state), [INITIALIZED, LIST]);
}

#[test]
fn lost_bridge_fails_pending_call_and_repeats_list() {
    let mut state = established();
    from_host(&mut state, &[CALL, LIST]);
    drain(&mut state);
    let responses = state.bridge_lost(None);
    assert_eq!(responses.len(), 1);
    let error: serde_json::Value = serde_json::from_slice(responses[0].bytes()).unwrap();
    assert_eq!(error["id"], "c");
    assert_eq!(error["error"]["code"], 1002);
    assert_eq!(error["error"]["data"]["kind"], "unreachable");
    assert_eq!(error["error"]["data"]["server"], "snippets");
    assert!(
        error["error"]["data"]["hint"]
            .as_str()
            .unwrap()
            .contains("before you repeat it")
    );
    state.bridge_connected();
    drain(&mut state);
    from_bridge(&mut state, ANSWER);
    assert_eq!(drain(&mut state), [INITIALIZED, LIST]);
}

#[test]
fn request_that_crashes_bridges_is_repeated_up_to_limit() {
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[listen, LIST]);
    for _ in 0..MAX_REPLAYS {
        state.bridge_connected();
        assert_eq!(drain(&mut state), [listen, LIST]);
        assert!(state.bridge_lost(None).is_empty());
    }
    // A subscription survives any number of working bridges.
    state.bridge_connected();
    drain(&mut state);
    from_bridge(&mut state, r#"{"jsonrpc":"2.0","method":"x"}"#);
    let responses = state.bridge_lost(None);
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].id().unwrap().as_json(), "2");
    state.bridge_connected();
    assert_eq!(drain(&mut state), [listen]);
}

#[test]
fn unsent_call_is_sent_to_next_bridge() {
    let mut state = established();
    from_host(&mut state, &[CALL]);
    let call = state.next_to_send().unwrap();
    state.requeue(call);
    assert!(state.bridge_lost(None).is_empty());
    state.bridge_connected();
    drain(&mut state);
    from_bridge(&mut state, ANSWER);
    assert_eq!(drain(&mut state), [INITIALIZED, CALL]);
}

#[test]
fn cancelled_request_is_not_pending() {
    let mut state = established();
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}"#;
    from_host(&mut state, &[CALL]);
    drain(&mut state);
    from_host(&mut state, &[cancel]);
    assert_eq!(drain(&mut state), [cancel]);
    assert!(!state.has_pending() && state.bridge_lost(None).is_empty());
    // A queued call is dropped.
    from_host(&mut state, &[CALL, cancel]);
    assert!(!state.needs_bridge());
}

#[test]
fn lost_bridge_cancels_server_request_and_drops_response() {
    let mut state = established();
    let question = r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#;
    from_bridge(&mut state, question);
    let responses = state.bridge_lost(None);
    assert_eq!(responses[0].method(), Some("notifications/cancelled"));
    assert_eq!(
        responses[0].params().unwrap().get(),
        r#"{"requestId":7,"reason":"Postern's bridge was restarted"}"#
    );
    from_host(&mut state, &[r#"{"jsonrpc":"2.0","id":7,"result":{}}"#]);
    assert!(!state.needs_bridge());
    // The response is forwarded if a new request has the same ID.
    state.bridge_connected();
    from_bridge(&mut state, question);
    from_host(&mut state, &[r#"{"jsonrpc":"2.0","id":7,"result":{}}"#]);
    assert!(state.needs_bridge());
}

#[test]
fn fail_queued_answers_all_requests_and_next_one_is_sent() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE, INITIALIZED]);
    let responses = state.fail_queued(&problem());
    assert_eq!(responses.len(), 1);
    let expected = r#"{"jsonrpc":"2.0","id":0,"error":{"code":1005,"data":{"hint":"add it","kind":"not-found","server":"snippets"},"message":"there is no snippets. Add it."}}"#;
    assert_eq!(text(&responses[0]), expected);
    assert!(!state.needs_bridge() && !state.has_pending());
    from_host(&mut state, &[INITIALIZE]);
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
}

#[test]
fn modern_session_replays_no_handshake() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    from_host(&mut state, &[listen, CALL]);
    state.bridge_connected();
    assert_eq!(drain(&mut state), [listen, CALL]);
    assert_eq!(state.bridge_lost(None).len(), 1);
    state.bridge_connected();
    assert_eq!(drain(&mut state), [listen]);
    assert!(state.is_resumed());
    // A subscription is never answered, so the end of stdin does not wait for it.
    assert!(!state.has_pending());
}

#[test]
fn invalid_line_is_answered_with_error() {
    let mut state = established();
    for (line, code) in [
        ("{", -32700),
        ("nonsense", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, -32600),
        (r#"{"id":1,"method":"x"}"#, -32600),
    ] {
        let answers = state.receive_from_host(Bytes::copy_from_slice(line.as_bytes()));
        let [answer] = &*answers else {
            panic!("{line}: {answers:?}");
        };
        assert_eq!(*answer.kind(), Kind::ErrorWithoutId);
        let answer: serde_json::Value = serde_json::from_slice(answer.bytes()).unwrap();
        assert_eq!(answer["error"]["code"], code, "{line}");
        assert!(answer["id"].is_null(), "{line}");
    }
    assert_eq!(
        state.receive_from_host(Bytes::from_static(b"\xff")).len(),
        1
    );
    from_host(&mut state, &[CALL]);
    assert_eq!(drain(&mut state), [CALL]);
    assert!(
        state
            .receive_from_bridge(Bytes::from_static(b"hello"))
            .is_err()
    );
}

#[test]
fn each_request_of_array_is_pending_on_its_own() {
    let mut state = established();
    let remark = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"x","params":["{}"]}}"#,
        "x".repeat(MAX_LENGTH)
    );
    let array = format!("[{CALL}, {remark},1,{LIST},{long}]");
    let answers = state.receive_from_host(Bytes::from(array));
    let ids: Vec<_> = answers.iter().map(Message::id).collect();
    assert_eq!(ids, [None, Some(&RequestId::number(9))]);
    assert_eq!(drain(&mut state), [CALL, remark, LIST]);
    assert!(from_bridge(&mut state, r#"{"jsonrpc":"2.0","id":"c","result":{}}"#).is_some());
    assert!(state.has_pending());
    // After the bridge is lost, only the list is requested again.
    assert!(state.bridge_lost(None).is_empty());
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
    assert_eq!(from_bridge(&mut state, ANSWER), None);
    assert_eq!(drain(&mut state), [INITIALIZED, LIST]);
}

#[test]
fn oversized_message_is_answered_with_its_id() {
    let mut state = established();
    let padding = " ".repeat(MAX_LENGTH);
    let answers = state.receive_from_host(Bytes::from(format!("{padding}{CALL}")));
    assert_eq!(answers[0].id().unwrap().as_json(), r#""c""#);
    assert!(!state.needs_bridge());
}

#[test]
fn full_queue_pauses_host() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    for id in 0..MAX_QUEUED {
        assert!(!state.is_full());
        from_host(
            &mut state,
            &[&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"}}"#
            )],
        );
    }
    assert!(state.is_full());

    let mut state = ReplayState::new("snippets", usize::MAX);
    let long = CALL.replace("\"x\"", &format!("\"{}\"", "x".repeat(MAX_QUEUED_BYTES)));
    from_host(&mut state, &[&long]);
    assert!(state.is_full());
}

#[test]
fn reused_id_is_pending_once() {
    let mut state = established();
    from_host(&mut state, &[CALL, CALL]);
    drain(&mut state);
    from_bridge(&mut state, r#"{"jsonrpc":"2.0","id":"c","result":{}}"#);
    assert!(!state.has_pending());
}

#[test]
fn fallback_handshake_is_replayed_and_lists_change() {
    let mut state = ReplayState::new("snippets", MAX_LENGTH);
    from_host(&mut state, &[INITIALIZE, LIST, CALL]);
    let responses: Vec<_> = state.answer_queued(&problem()).iter().map(text).collect();
    assert!(
        responses[0].contains(r#""protocolVersion":"2025-11-25""#),
        "{responses:?}"
    );
    assert!(
        responses[1].contains("there is no snippets"),
        "{responses:?}"
    );
    assert_eq!(responses.len(), 3);
    from_host(&mut state, &[INITIALIZED]);
    assert!(!state.needs_bridge() && state.take_list_changes().is_empty());
    state.bridge_connected();
    assert_eq!(drain(&mut state), [INITIALIZE]);
    assert!(
        from_bridge(&mut state, ANSWER).is_none(),
        "the host has an answer"
    );
    assert_eq!(state.take_list_changes().len(), 3);
    assert!(state.take_list_changes().is_empty());
    assert_eq!(drain(&mut state), [INITIALIZED]);
}
