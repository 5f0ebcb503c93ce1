use bytes::Bytes;
use control::api::{Problem, ProblemKind};
use mcp::{Kind, Message, RequestId};

use super::{MOST_REPEATS, MOST_UNSENT, MOST_UNSENT_BYTES, Memory};

const LONGEST: usize = 1024;
const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"x", "n":1.0}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;

/// Takes everything that can be sent and marks it as sent.
fn drain(memory: &mut Memory) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(message) = memory.next() {
        memory.sent(&message);
        lines.push(text(&message));
    }
    lines
}

fn text(message: &Message) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

fn says(memory: &mut Memory, lines: &[&str]) {
    for line in lines {
        assert!(
            memory
                .host_said(Bytes::copy_from_slice(line.as_bytes()))
                .is_empty(),
            "{line}"
        );
    }
}

fn shows(memory: &mut Memory, line: &str) -> Option<Bytes> {
    memory
        .bridge_said(Bytes::copy_from_slice(line.as_bytes()))
        .unwrap()
}

/// A conversation whose handshake is done.
fn established() -> Memory {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE]);
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
    assert_eq!(shows(&mut memory, ANSWER).unwrap(), ANSWER);
    says(&mut memory, &[INITIALIZED]);
    assert_eq!(drain(&mut memory), [INITIALIZED]);
    memory
}

fn problem() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no snippets").with_hint("add it")
}

#[test]
fn what_waits_is_sent_in_order_and_unchanged_once_there_is_a_bridge() {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE, CALL]);
    assert!(drain(&mut memory).is_empty());
    assert!(memory.needs_bridge() && memory.owes());
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE, CALL]);
    let odd = r#"{ "jsonrpc":"2.0", "id":"\u0063", "result":{"n":1.0,"unknown":true} }"#;
    assert_eq!(shows(&mut memory, odd).unwrap(), odd);
    assert!(shows(&mut memory, ANSWER).is_some());
    assert!(!memory.owes() && !memory.needs_bridge());
}

#[test]
fn a_new_bridge_gets_the_handshake_again_and_the_host_does_not_see_it() {
    let mut memory = established();
    assert!(memory.lost(None).is_empty());
    says(&mut memory, &[CALL]);
    memory.found();
    // Nothing overtakes the handshake.
    assert_eq!(text(&memory.next().unwrap()), INITIALIZE);
    assert!(memory.next().is_none());
    assert!(shows(&mut memory, ANSWER).is_none());
    assert_eq!(drain(&mut memory), [INITIALIZED, CALL]);
    let answer = r#"{"jsonrpc":"2.0","id":"c","result":{}}"#;
    assert_eq!(shows(&mut memory, answer).unwrap(), answer);
}

#[test]
fn a_bridge_that_is_lost_again_in_the_middle_of_the_handshake_changes_nothing() {
    let mut memory = established();
    for sent in [true, false] {
        assert!(memory.lost(None).is_empty());
        memory.found();
        let initialize = memory.next().unwrap();
        if sent {
            memory.sent(&initialize);
        } else {
            memory.not_sent(initialize);
        }
    }
    assert!(memory.lost(None).is_empty());
    memory.found();
    assert_eq!(text(&memory.next().unwrap()), INITIALIZE);
    assert!(shows(&mut memory, ANSWER).is_none());
    assert_eq!(drain(&mut memory), [INITIALIZED]);
}

#[test]
fn an_initialize_that_was_not_answered_is_asked_again_and_its_answer_shown() {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE]);
    memory.found();
    drain(&mut memory);
    assert!(memory.lost(None).is_empty());
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
    assert_eq!(shows(&mut memory, ANSWER).unwrap(), ANSWER);
}

#[test]
fn an_initialized_that_comes_while_there_is_no_bridge_is_sent_once() {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE]);
    memory.found();
    drain(&mut memory);
    shows(&mut memory, ANSWER);
    memory.lost(None);
    says(&mut memory, &[INITIALIZED, LIST]);
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
    shows(&mut memory, ANSWER);
    assert_eq!(drain(&mut memory), [INITIALIZED, LIST]);
}

#[test]
fn a_call_whose_fate_is_unknown_is_answered_and_a_list_is_asked_again() {
    let mut memory = established();
    says(&mut memory, &[CALL, LIST]);
    drain(&mut memory);
    let told = memory.lost(None);
    assert_eq!(told.len(), 1);
    let error: serde_json::Value = serde_json::from_slice(told[0].bytes()).unwrap();
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
    memory.found();
    drain(&mut memory);
    shows(&mut memory, ANSWER);
    assert_eq!(drain(&mut memory), [INITIALIZED, LIST]);
}

#[test]
fn a_request_that_ends_every_bridge_does_not_go_round_for_ever() {
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[listen, LIST]);
    for _ in 0..MOST_REPEATS {
        memory.found();
        assert_eq!(drain(&mut memory), [listen, LIST]);
        assert!(memory.lost(None).is_empty());
    }
    // What stays open has to survive any number of bridges that work.
    memory.found();
    drain(&mut memory);
    shows(&mut memory, r#"{"jsonrpc":"2.0","method":"x"}"#);
    let told = memory.lost(None);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].id().unwrap().as_json(), "2");
    memory.found();
    assert_eq!(drain(&mut memory), [listen]);
}

#[test]
fn a_call_that_never_left_is_sent_to_the_next_bridge() {
    let mut memory = established();
    says(&mut memory, &[CALL]);
    let call = memory.next().unwrap();
    memory.not_sent(call);
    assert!(memory.lost(None).is_empty());
    memory.found();
    drain(&mut memory);
    shows(&mut memory, ANSWER);
    assert_eq!(drain(&mut memory), [INITIALIZED, CALL]);
}

#[test]
fn nothing_is_owed_for_what_the_host_cancelled() {
    let mut memory = established();
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}"#;
    says(&mut memory, &[CALL]);
    drain(&mut memory);
    says(&mut memory, &[cancel]);
    assert_eq!(drain(&mut memory), [cancel]);
    assert!(!memory.owes() && memory.lost(None).is_empty());
    // A call that waits is simply dropped.
    says(&mut memory, &[CALL, cancel]);
    assert!(!memory.needs_bridge());
}

#[test]
fn a_question_of_a_lost_bridge_is_withdrawn_and_its_late_answer_goes_nowhere() {
    let mut memory = established();
    let question = r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}"#;
    shows(&mut memory, question);
    let told = memory.lost(None);
    assert_eq!(told[0].method(), Some("notifications/cancelled"));
    assert_eq!(
        told[0].params().unwrap().get(),
        r#"{"requestId":7,"reason":"Postern's bridge was restarted"}"#
    );
    says(&mut memory, &[r#"{"jsonrpc":"2.0","id":7,"result":{}}"#]);
    assert!(!memory.needs_bridge());
    // Unless a new question has the same id.
    memory.found();
    shows(&mut memory, question);
    says(&mut memory, &[r#"{"jsonrpc":"2.0","id":7,"result":{}}"#]);
    assert!(memory.needs_bridge());
}

#[test]
fn a_refusal_answers_everything_that_waits_and_the_next_request_may_be_luckier() {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE, INITIALIZED]);
    let told = memory.refused(&problem());
    assert_eq!(told.len(), 1);
    let expected = r#"{"jsonrpc":"2.0","id":0,"error":{"code":1005,"data":{"hint":"add it","kind":"not-found","server":"snippets"},"message":"there is no snippets. Add it."}}"#;
    assert_eq!(text(&told[0]), expected);
    assert!(!memory.needs_bridge() && !memory.owes());
    says(&mut memory, &[INITIALIZE]);
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
}

#[test]
fn a_host_of_the_modern_era_has_no_handshake_to_repeat() {
    let mut memory = Memory::new("snippets", LONGEST);
    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    says(&mut memory, &[listen, CALL]);
    memory.found();
    assert_eq!(drain(&mut memory), [listen, CALL]);
    assert_eq!(memory.lost(None).len(), 1);
    memory.found();
    assert_eq!(drain(&mut memory), [listen]);
    assert!(memory.is_resumed());
    // A subscription never ends by itself: the end of stdin does not wait for it.
    assert!(!memory.owes());
}

#[test]
fn what_is_no_message_is_answered_and_survived() {
    let mut memory = established();
    for (line, code) in [
        ("{", -32700),
        ("nonsense", -32700),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, -32600),
        (r#"{"id":1,"method":"x"}"#, -32600),
    ] {
        let answers = memory.host_said(Bytes::copy_from_slice(line.as_bytes()));
        let [answer] = &*answers else {
            panic!("{line}: {answers:?}");
        };
        assert_eq!(*answer.kind(), Kind::ErrorWithoutId);
        let answer: serde_json::Value = serde_json::from_slice(answer.bytes()).unwrap();
        assert_eq!(answer["error"]["code"], code, "{line}");
        assert!(answer["id"].is_null(), "{line}");
    }
    assert_eq!(memory.host_said(Bytes::from_static(b"\xff")).len(), 1);
    says(&mut memory, &[CALL]);
    assert_eq!(drain(&mut memory), [CALL]);
    assert!(memory.bridge_said(Bytes::from_static(b"hello")).is_err());
}

#[test]
fn each_request_of_array_is_owed_its_own_answer() {
    let mut memory = established();
    let remark = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"x","params":["{}"]}}"#,
        "x".repeat(LONGEST)
    );
    let array = format!("[{CALL}, {remark},1,{LIST},{long}]");
    let answers = memory.host_said(Bytes::from(array));
    let ids: Vec<_> = answers.iter().map(Message::id).collect();
    assert_eq!(ids, [None, Some(&RequestId::number(9))]);
    assert_eq!(drain(&mut memory), [CALL, remark, LIST]);
    assert!(shows(&mut memory, r#"{"jsonrpc":"2.0","id":"c","result":{}}"#).is_some());
    assert!(memory.owes());
    // The bridge dies: the list is asked for again, and nothing else.
    assert!(memory.lost(None).is_empty());
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
    assert_eq!(shows(&mut memory, ANSWER), None);
    assert_eq!(drain(&mut memory), [INITIALIZED, LIST]);
}

#[test]
fn a_message_that_no_bridge_would_take_is_answered_with_its_id() {
    let mut memory = established();
    let padding = " ".repeat(LONGEST);
    let answers = memory.host_said(Bytes::from(format!("{padding}{CALL}")));
    assert_eq!(answers[0].id().unwrap().as_json(), r#""c""#);
    assert!(!memory.needs_bridge());
}

#[test]
fn a_host_that_talks_to_nobody_is_slowed_down() {
    let mut memory = Memory::new("snippets", LONGEST);
    for id in 0..MOST_UNSENT {
        assert!(!memory.is_full());
        says(
            &mut memory,
            &[&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call"}}"#
            )],
        );
    }
    assert!(memory.is_full());

    let mut memory = Memory::new("snippets", usize::MAX);
    let long = CALL.replace("\"x\"", &format!("\"{}\"", "x".repeat(MOST_UNSENT_BYTES)));
    says(&mut memory, &[&long]);
    assert!(memory.is_full());
}

#[test]
fn an_id_that_is_used_again_is_owed_once() {
    let mut memory = established();
    says(&mut memory, &[CALL, CALL]);
    drain(&mut memory);
    shows(&mut memory, r#"{"jsonrpc":"2.0","id":"c","result":{}}"#);
    assert!(!memory.owes());
}

#[test]
fn handshake_answered_in_place_is_repeated_and_lists_change() {
    let mut memory = Memory::new("snippets", LONGEST);
    says(&mut memory, &[INITIALIZE, LIST, CALL]);
    let told: Vec<_> = memory.hung(&problem()).iter().map(text).collect();
    assert!(
        told[0].contains(r#""protocolVersion":"2025-11-25""#),
        "{told:?}"
    );
    assert!(told[1].contains("there is no snippets"), "{told:?}");
    assert_eq!(told.len(), 3);
    says(&mut memory, &[INITIALIZED]);
    assert!(!memory.needs_bridge() && memory.news().is_empty());
    memory.found();
    assert_eq!(drain(&mut memory), [INITIALIZE]);
    assert!(
        shows(&mut memory, ANSWER).is_none(),
        "the host has an answer"
    );
    assert_eq!(memory.news().len(), 3);
    assert!(memory.news().is_empty());
    assert_eq!(drain(&mut memory), [INITIALIZED]);
}
