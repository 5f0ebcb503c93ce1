use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Kind, Message, ParseError};
use crate::RequestId;
use crate::handshake::InitializeResult;

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

fn value(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

#[test]
fn each_kind_is_parsed() {
    let request =
        parse(r#" {"id":7,"x":1,"params":{"a":[1.0]},"method":"tools\/call","jsonrpc":"2.0"} "#)
            .unwrap();
    assert_eq!(request.method(), Some("tools/call"));
    assert_eq!(request.id(), Some(&RequestId::number(7)));
    assert_eq!(request.params().unwrap().get(), r#"{"a":[1.0]}"#);
    assert!(request.result().is_none() && request.error().is_none());

    let notification = parse(r#"{"jsonrpc":"2.0","method":"n"}"#).unwrap();
    assert_eq!(
        notification.kind(),
        &Kind::Notification { method: "n".into() }
    );
    assert!(notification.params().is_none());

    let response = parse(r#"{"jsonrpc":"2.0","id":"a","result":null,"error":null}"#).unwrap();
    assert_eq!(
        response.kind(),
        &Kind::Response {
            id: RequestId::string("a"),
            is_error: false
        }
    );
    assert_eq!(response.result().unwrap().get(), "null");

    let error = parse(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1}}"#).unwrap();
    assert_eq!(
        error.kind(),
        &Kind::Response {
            id: RequestId::number(1),
            is_error: true
        }
    );
    assert_eq!(error.error().unwrap().get(), r#"{"code":-1}"#);

    for without_id in [
        r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
        r#"{"jsonrpc":"2.0","error":{}}"#,
    ] {
        assert_eq!(parse(without_id).unwrap().kind(), &Kind::ErrorWithoutId);
    }
}

#[test]
fn message_keeps_its_bytes() {
    let odd = "{\"jsonrpc\":\"2.0\",\t\"id\":12345678901234567890123,\"zz\":{\"b\":1,\"a\":1.0,\"b\":2},\
               \"method\":\"x\",\"params\":{\"n\":1e999,\"s\":\"\\u0041\\ud83d\\ude00é\",\"d\":-0.0}}";
    let message = parse(odd).unwrap();
    assert_eq!(message.bytes(), odd.as_bytes());
    assert_eq!(message.line(), odd.as_bytes());
    assert_eq!(message.line().as_ptr(), message.bytes().as_ptr(), "no copy");
    assert_eq!(message.id().unwrap().as_json(), "12345678901234567890123");
}

#[test]
fn invalid_names_hide_no_other() {
    let odd = r#"{"\ud800":1,"jsonrpc":"2.0","id":7,"\udc00\ud83d":{},"meth\u006fd":"x"}"#;
    assert_eq!(parse(odd).unwrap().method(), Some("x"));
}

#[test]
fn responses_repeat_spelling_of_id() {
    let text = r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"x","params":{"b":1.0,"a":1e400,"b":2}}"#;
    let request = parse(text).unwrap();
    let cancellation = Message::cancellation_with_reason(request.id().unwrap(), "a \"reason\"");
    assert_eq!(cancellation.cancels().as_ref(), request.id());
    assert_eq!(
        cancellation.params().unwrap().get(),
        r#"{"requestId":123456789012345678901234567890,"reason":"a \"reason\""}"#
    );
    let repeated = request.with_id(&RequestId::string("again")).unwrap();
    assert_eq!(
        repeated.bytes(),
        r#"{"jsonrpc":"2.0","id":"again","method":"x","params":{"b":1.0,"a":1e400,"b":2}}"#
    );
    assert!(cancellation.with_id(request.id().unwrap()).is_none());
}

#[test]
fn line_has_no_breaks_and_same_meaning() {
    let pretty =
        "{\r\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\r  \"result\": {\"t\": \"a\\nb\"}\n}\n";
    let message = parse(pretty).unwrap();
    let line = message.line();
    assert_eq!(
        line,
        r#"{  "jsonrpc": "2.0",  "id": 1,  "result": {"t": "a\nb"}}"#
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&line).unwrap(),
        value(&message)
    );
}

#[test]
fn invalid_messages_get_their_error_code() {
    let code = |text: &str| value(&parse(text).unwrap_err().to_response())["error"]["code"].clone();
    for broken in [
        "",
        "{",
        "x",
        r#"{"jsonrpc":"2.0","method":"a"}}"#,
        "{\"jsonrpc\":\"2.0\",\"method\":\"a\nb\"}",
    ] {
        assert_eq!(code(broken), -32700, "{broken}");
    }
    for invalid in [
        "1",
        "[]",
        r#""secret""#,
        r#"{}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"1.0","method":"a"}"#,
        r#"{"method":"a"}"#,
        r#"{"jsonrpc":"2.0","method":1}"#,
        r#"{"jsonrpc":"2.0","method":"a","id":null}"#,
        r#"{"jsonrpc":"2.0","method":"a","id":{}}"#,
        r#"{"jsonrpc":"2.0","method":"a","id":1,"id":2}"#,
        r#"{"jsonrpc":"2.0","method":"a","meth\u006fd":"b"}"#,
        r#"{"jsonrpc":"2.0","method":"a","result":1,"id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":[1],"result":1}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":1}"#,
    ] {
        assert_eq!(code(invalid), -32600, "{invalid}");
    }
    assert!(matches!(
        parse(r#" [{"jsonrpc":"2.0","method":"a"}]"#),
        Err(ParseError::Batch)
    ));
    let latin1 = Message::parse(Bytes::from_static(
        b"{\"jsonrpc\":\"2.0\",\"method\":\"\xe9\"}",
    ));
    assert!(matches!(latin1, Err(ParseError::NotUtf8)));
    let without_id = parse("x").unwrap_err().to_response();
    assert_eq!(value(&without_id)["id"], Value::Null);
}

#[test]
fn debug_and_errors_hide_content() {
    let message =
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"key":"secret"}}"#);
    let shown = format!("{:?}", message.unwrap());
    assert!(
        shown.contains("tools/call") && !shown.contains("secret"),
        "{shown}"
    );
    for text in [
        r#""secret""#,
        r#"{"jsonrpc":"secret","method":"secret"}"#,
        r#"{"jsonrpc":"2.0","method":["secret"]}"#,
    ] {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn built_messages_can_be_parsed() {
    let id = RequestId::string("a\"\n");
    for ours in [
        Message::response(&id, &json!({"a": "b"})),
        Message::error_response(Some(&id), 1001, "no \"way\"", Some(json!({"kind": "k"}))),
        Message::error_response(None, -32700, "what?", None),
        Message::notification("notifications/\"x\"", None),
        Message::notification("n", Some(json!({"a": 1}))),
        Message::request(&id, "m", Some(json!([]))),
        Message::request(&id, "m", None),
    ] {
        let read = Message::parse(ours.bytes().clone()).unwrap();
        assert_eq!(read.kind(), ours.kind());
        assert_eq!(
            read.params().map(|raw| raw.get()),
            ours.params().map(|raw| raw.get())
        );
        assert_eq!(
            read.result().map(|raw| raw.get()),
            ours.result().map(|raw| raw.get())
        );
        assert_eq!(
            read.error().map(|raw| raw.get()),
            ours.error().map(|raw| raw.get())
        );
    }
}

#[test]
fn deep_nesting_does_not_overflow_stack() {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","method":"m","params":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    assert!(parse(&deep).unwrap().params().is_some());
}

#[test]
fn error_without_id_can_be_readdressed() {
    let without_id = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"data":1.0}}"#).unwrap();
    let answer = without_id.error_for(&RequestId::number(7)).unwrap();
    assert_eq!(
        answer.bytes(),
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"data":1.0}}"#
    );
    assert!(
        Message::notification("n", None)
            .error_for(&RequestId::number(7))
            .is_none()
    );
}

#[test]
fn line_break_in_name_is_rejected() {
    // With the line break removed, it would be another name.
    let text = "{\"jsonrpc\":\"2.0\",\"id\":5,\"res\nult\":1,\"method\":\"x\"}";
    let refused = Message::parse(text.into());
    assert!(
        matches!(refused, Err(ParseError::NotJson(_))),
        "{refused:?}"
    );
    let between = text.replace("res\nult", "odd").replace(',', ",\n");
    assert!(Message::parse(between.into()).is_ok());
    let escaped = text.replace("res\nult", "res\\nult");
    assert!(Message::parse(escaped.into()).is_ok());
}

#[test]
fn parsing_large_message_lets_other_tasks_run() {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":"{}"}}}}"#,
        "x".repeat(8 << 20)
    );
    let bytes = Bytes::from(text);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).build().unwrap();
    let passes = runtime.block_on(async {
        let ticks = Arc::new(AtomicU64::new(0));
        let ticking = Arc::clone(&ticks);
        let ticker = tokio::spawn(async move {
            loop {
                ticking.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let passing = tokio::spawn(async move {
            let mut last = 0;
            let mut passed = |what: &'static str| {
                let now = ticks.load(Ordering::Relaxed);
                let ticked = now - std::mem::replace(&mut last, now);
                (what, ticked)
            };
            passed("begin");
            let message = Message::parse(bytes).unwrap();
            let parsed = passed("parse");
            assert!(message.result().is_some());
            let found = passed("result");
            assert!(
                message.error_code().is_none()
                    && InitializeResult::from_response(&message).is_none()
            );
            let read = passed("handshake");
            [parsed, found, read]
        });
        let passes = passing.await.unwrap();
        ticker.abort();
        passes
    });
    for (pass, ticks) in passes {
        assert!(ticks > 0, "the other task stood still: {pass}");
    }
}
