//! Bytes pass unchanged both ways.

use bytes::Bytes;

use crate::server::{Host, chunks, request, text};

/// What typed relays drop or rewrite: large and odd numbers, key order, escapes, duplicate and
/// unknown keys, spaces.
const ODD: &str = r#"{ "zz":{"b":1,"a":1.0,"b":2}, "n":[1e2,-0.0,12345678901234567890123,1E+400],
 "s":"\u0041\ud83d\ude00é\/", "_meta":{"progressToken":1.50,"x.y/z":null} }"#;

fn odd(rest: &str) -> String {
    format!("{{\"extra\": [ ],\"params\":{ODD},\r\n\"jsonrpc\":\"2.0\"{rest}}}")
}

#[tokio::test]
async fn messages_to_server_keep_their_bytes() {
    let (mut host, mut server) = Host::ready().await;
    for message in [
        odd(r#","method":"tools/call","id":"\u00e9 \"1\"""#),
        odd(r#","method":"notifications/progress""#),
        odd(r#","method":"x/unknown","id":9007199254740993"#),
        format!(r#"{{"result":{ODD},"id":1.0,"jsonrpc":"2.0","new":true}}"#),
        format!(r#"{{"error":{ODD},"id":"a","jsonrpc":"2.0"}}"#),
    ] {
        host.send(&text(&message));
        let call = server.call().await;
        assert_eq!(call.body, message);
        match text(&message).id() {
            Some(id) if text(&message).method().is_some() => {
                let answer = format!(r#"{{"id":{id},"jsonrpc":"2.0","result":{ODD},"new":{{}}}}"#);
                call.json(answer.clone());
                let (answered, request) = host.message_on().await;
                assert_eq!(answered.bytes(), answer.as_bytes());
                assert_eq!(request.as_ref(), Some(id));
            }
            Some(_) | None => call.status(202),
        }
    }
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn messages_on_stream_keep_their_bytes() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let events = server.call().await.events();
    for message in [
        odd(r#","method":"sampling/createMessage","id":"s\u002d1""#),
        odd(r#","method":"notifications/progress""#),
        format!(r#"{{"id":1,"jsonrpc":"2.0","result":{ODD}}}"#),
    ] {
        // SSE has no carriage returns. They arrive as line feeds, which mean the same in JSON.
        events.data(message.as_bytes());
        let (arrived, request) = host.message_on().await;
        assert_eq!(arrived.bytes(), message.replace("\r\n", "\n").as_bytes());
        assert_eq!(request.unwrap().as_json(), "1");
    }
}

#[tokio::test]
async fn ten_megabytes_pass_both_ways() {
    let (mut host, mut server) = Host::ready().await;
    let big = "é".repeat(5 << 20);
    let asked = text(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":["{big}"]}}"#
    ));
    let answer = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"result":["{big}"]}}"#));

    host.send(&asked);
    let call = server.call().await;
    assert!(call.body == asked.bytes());
    call.json(chunks(&answer, 10_007));
    assert!(host.message().await.bytes() == &answer);

    host.send(&asked);
    server.call().await.events().data(&answer);
    assert!(host.message().await.bytes() == &answer);
}

#[tokio::test]
async fn response_matches_id_of_any_spelling() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&text(r#"{"jsonrpc":"2.0","id":"é","method":"m"}"#));
    server
        .call()
        .await
        .json(r#"{"jsonrpc":"2.0","id":"\u00e9","result":{}}"#);
    let (answer, request) = host.message_on().await;
    assert!(answer.bytes().windows(6).any(|part| part == br"\u00e9"));
    assert_eq!(
        request,
        text(r#"{"jsonrpc":"2.0","id":"é","method":"m"}"#)
            .id()
            .cloned()
    );
}
