//! Tools with parameters that are repeated in headers.

use mcp::{Message, RequestId};
use model::config::Transport;
use serde_json::{Value, json};

use crate::server::{Call, Host, Server};

fn request(id: i64, method: &str, mut params: Value) -> Message {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": 7,
    });
    Message::request(&RequestId::number(id), method, Some(params))
}

fn call(id: i64) -> Message {
    let arguments = json!({ "region": "us-west1", "tier": 3 });
    request(
        id,
        "tools/call",
        json!({ "name": "x", "arguments": arguments }),
    )
}

/// Builds a `tools/list` result with one tool, `x`, whose `region` is repeated in this header.
fn tools(header: &str, next: &str) -> String {
    let region = json!({ "type": "string", "x-mcp-header": header });
    let schema = json!({ "type": "object", "properties": { "region": region } });
    let tool = json!({ "name": "x", "inputSchema": schema });
    format!(r#"{{"tools":[{tool}]{next}}}"#)
}

fn refuse(call: Call, code: i64) {
    let id = call.message().id().unwrap().clone();
    let error = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":""}}}}"#);
    call.refuse(400, "application/json", error);
}

#[tokio::test]
async fn call_repeats_parameters_of_listed_tool() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&request(1, "tools/list", json!({})));
    let events = server.call().await.events();
    let list = tools("Region", "");
    events.message(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{list}}}"#));
    assert_eq!(host.message().await.result().unwrap().get(), list);
    host.send(&call(2));
    let posted = server.call().await;
    assert_eq!(posted.header("mcp-param-region"), Some("us-west1"));
    posted.result("{}");
    host.message().await;
}

#[tokio::test]
async fn tool_with_invalid_header_is_removed() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&request(1, "tools/list", json!({})));
    let list = tools("no header", r#","ttlMs":0.0"#);
    server.call().await.result(&list);
    let seen = host.message().await;
    assert_eq!(seen.result().unwrap().get(), r#"{"tools":[],"ttlMs":0.0}"#);
    host.send(&call(2));
    let posted = server.call().await;
    assert_eq!(posted.header("mcp-param-region"), None);
    posted.result("{}");
    host.message().await;
}

#[tokio::test]
async fn header_mismatch_is_retried_with_listed_headers() {
    let mut server = Server::start().await;
    let mut host = Host::new(&server, "/mcp", Transport::Auto);
    host.send(&call(1));
    refuse(server.call().await, -32020);
    let first = server.call().await;
    assert!(first.is("tools/list"));
    let params: Value = serde_json::from_str(first.message().params().unwrap().get()).unwrap();
    assert_eq!(params["_meta"].as_object().unwrap().len(), 2, "{params}");
    first.result(r#"{"tools":[],"nextCursor":"2"}"#);
    let second = server.call().await;
    assert!(
        second
            .message()
            .params()
            .unwrap()
            .get()
            .contains(r#""cursor":"2""#)
    );
    second.result(&tools("Region", ""));
    let again = server.call().await;
    assert_eq!(again.body, call(1).bytes());
    assert_eq!(again.header("mcp-param-region"), Some("us-west1"));
    refuse(again, -32020);
    assert_eq!(host.message().await.error_code(), Some(-32020));

    host.send(&call(2));
    refuse(server.call().await, -32020);
    server.call().await.result(&tools("Region", ""));
    let refusal = host.message().await;
    assert_eq!(refusal.error_code(), Some(-32020), "nothing has changed");
    assert!(server.is_idle());
}
