//! Arrays of messages, which servers of 2025-03-26 may send.

use mcp::upstream::UpstreamError;

use crate::server::{Host, request};

const REMARK: &str = r#"{"jsonrpc":"2.0", "method":"notifications/progress","params":{"a":1.0}}"#;
const QUESTION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"b":1e400}}"#;

/// Expects these three messages next, on the request 1.
async fn hears_all(host: &mut Host, wanted: [&str; 3]) {
    for text in wanted {
        let (message, on) = host.message_on().await;
        assert_eq!(message.bytes(), text);
        assert_eq!(on.unwrap().as_json(), "1");
    }
}

#[tokio::test]
async fn array_in_event_is_delivered_element_by_element() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    let events = server.call().await.events();
    events.message(&format!("[{REMARK},7, {QUESTION} ,[],{ANSWER}]"));
    hears_all(&mut host, [REMARK, QUESTION, ANSWER]).await;
    drop(events);
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn array_as_body_answers_request() {
    let (mut host, mut server) = Host::ready().await;
    host.send(&request(1, "tools/call"));
    server
        .call()
        .await
        .json(format!("[{ANSWER},{REMARK},{QUESTION}]"));
    hears_all(&mut host, [REMARK, QUESTION, ANSWER]).await;
    host.send(&request(1, "tools/call"));
    server.call().await.json(format!(" [ {ANSWER} ] "));
    assert_eq!(host.message().await.bytes(), ANSWER);
    host.end_session(&mut server).await;
}

#[tokio::test]
async fn array_without_answer_fails_request() {
    let (mut host, mut server) = Host::ready().await;
    for body in ["[]", "[1]", "[1,2]"] {
        host.send(&request(1, "tools/call"));
        server.call().await.json(body);
        assert!(
            matches!(host.failure(Some(1)).await, UpstreamError::NotMcp { .. }),
            "{body}"
        );
    }
    host.send(&request(1, "tools/call"));
    let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no"}}"#;
    server.call().await.json(format!("[{refusal},{REMARK}]"));
    assert_eq!(host.message().await.bytes(), REMARK);
    let failure = host.failure(Some(1)).await;
    assert!(
        matches!(failure, UpstreamError::Rejected { body: Some(_), .. }),
        "{failure:?}"
    );
    host.end_session(&mut server).await;
}
