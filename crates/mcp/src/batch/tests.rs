use bytes::Bytes;
use serde_json::{Value, json};

use super::{MAX_BATCH_MESSAGES, Parsed};
use crate::{Kind, Message, ParseError};

fn host(text: &str) -> Result<Parsed, ParseError> {
    Parsed::from_host(Bytes::copy_from_slice(text.as_bytes()))
}

fn value(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

/// The elements of a host's array: messages, and the error responses.
fn elements(text: &str) -> Vec<Result<Message, Value>> {
    match host(text).unwrap() {
        Parsed::Batch(batch) => batch
            .map(|element| element.map_err(|invalid| value(&invalid.to_response())))
            .collect(),
        Parsed::Message(message) => panic!("{message:?}"),
    }
}

#[test]
fn messages_of_array_keep_their_bytes_and_order() {
    let odd = [
        r#"{"jsonrpc":"2.0", "id":1,"method":"a","params":{"b":1.0,"a":1e400,"b":"\ud800],["}}"#,
        r#"{"jsonrpc":"2.0","method":"n"}"#,
        r#"{"id":"\u0061","jsonrpc":"2.0","result":null}"#,
    ];
    for array in [
        format!("[{}]", odd.join(",")),
        format!(" \r\n[ {} ]\t", odd.join("\n ,\t")),
    ] {
        let elements = elements(&array);
        let texts: Vec<_> = elements
            .iter()
            .map(|element| element.as_ref().unwrap().bytes().clone())
            .collect();
        assert_eq!(texts, odd);
    }
}

#[test]
fn single_message_is_not_batch() {
    let text = r#" {"jsonrpc":"2.0","id":1,"method":"a","params":[[]]}"#;
    assert!(matches!(host(text), Ok(Parsed::Message(one)) if one.bytes() == text));
}

#[test]
fn invalid_element_is_error_of_its_own() {
    let array = r#"[1,{"foo":"boo"},{"jsonrpc":"1.0","id":"x","method":"m"},
        {"jsonrpc":"2.0","id":7,"result":1,"error":{}},[{"jsonrpc":"2.0","id":8,"method":"m"}],
        {"jsonrpc":"2.0","id":9,"method":"initialize"},{"jsonrpc":"2.0","id":10,"method":"m"}]"#;
    let elements = elements(array);
    let ids: Vec<_> = elements
        .iter()
        .map(|element| {
            element
                .as_ref()
                .map_or_else(|error| error["id"].clone(), |_| json!("ok"))
        })
        .collect();
    assert_eq!(json!(ids), json!([null, null, "x", null, null, 9, "ok"]));
    for invalid in elements.iter().filter_map(|element| element.as_ref().err()) {
        assert_eq!(invalid["error"]["code"], -32600, "{invalid}");
    }
    let initialize = elements[5].as_ref().unwrap_err()["error"]["message"].to_string();
    assert!(
        initialize.contains("hint: send it on its own"),
        "{initialize}"
    );
}

#[test]
fn invalid_array_is_one_error() {
    for (text, code) in [
        ("[]", -32600),
        (" [ ] ", -32600),
        ("[", -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"m"}"#, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"m"},]"#, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"m"}] 1"#, -32700),
    ] {
        let error = value(&host(text).unwrap_err().to_response());
        assert_eq!(
            (&error["id"], &error["error"]["code"]),
            (&Value::Null, &json!(code)),
            "{text}"
        );
    }
    let most = vec!["1"; MAX_BATCH_MESSAGES].join(",");
    assert_eq!(elements(&format!("[{most}]")).len(), MAX_BATCH_MESSAGES);
    assert!(matches!(
        host(&format!("[{most},1]")),
        Err(ParseError::LongBatch)
    ));
}

#[test]
fn server_batch_may_have_any_length() {
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let one = Parsed::from_server(format!("[{answer}]").into()).unwrap();
    assert!(matches!(one, Parsed::Message(message) if message.bytes() == answer));
    let many = vec![answer; 50_000].join(",");
    let Parsed::Batch(batch) = Parsed::from_server(format!("[{many}]").into()).unwrap() else {
        panic!("not an array");
    };
    let answers = batch.filter(|one| matches!(one.as_ref().unwrap().kind(), Kind::Response { .. }));
    assert_eq!(answers.count(), 50_000);
}

#[test]
fn short_message_does_not_keep_long_array() {
    let short = r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#;
    let long = format!(
        r#"{{"jsonrpc":"2.0","method":"n","params":["{}"]}}"#,
        "x".repeat(1 << 20)
    );
    let array = Bytes::from(format!("[{short},{long}]"));
    let range = array.as_ptr_range();
    let Parsed::Batch(batch) = Parsed::from_host(array.clone()).unwrap() else {
        panic!("not an array");
    };
    let is_part: Vec<_> = batch
        .map(|element| range.contains(&element.unwrap().bytes().as_ptr()))
        .collect();
    assert_eq!(is_part, [false, true]);
}
