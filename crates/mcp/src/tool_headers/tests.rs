use bytes::Bytes;
use serde_json::{Value, json};

use super::{FilteredTools, ToolHeaders};
use crate::{Message, RequestId};

fn listed(tools: &Value) -> Message {
    let id = RequestId::from_json("1").unwrap();
    Message::response(&id, &json!({ "tools": tools, "ttlMs": 0 }))
}

fn tool(name: &str, properties: &Value) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } })
}

fn learn(tools: &Value) -> (ToolHeaders, Option<FilteredTools>) {
    let headers = ToolHeaders::default();
    let filtered = headers.learn(&listed(tools));
    (headers, filtered)
}

fn call(headers: &ToolHeaders, arguments: &Value) -> Vec<(String, String)> {
    let id = RequestId::from_json("2").unwrap();
    let params = json!({ "name": "x", "arguments": arguments });
    let call = Message::request(&id, "tools/call", Some(params));
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.for_call(&call);
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

#[test]
fn call_repeats_annotated_parameters() {
    let properties = json!({
        "region": { "type": "string", "x-mcp-header": "Region" },
        "depth": { "type": "integer", "x-mcp-header": "Depth" },
        "dry": { "type": "boolean", "x-mcp-header": "Dry" },
        "where": { "type": "object", "properties": {
            "zone": { "type": "string", "x-mcp-header": "Zone" }
        } },
        "query": { "type": "string" }
    });
    let (headers, filtered) = learn(&json!([tool("x", &properties)]));
    assert!(filtered.is_none());
    let mut sent = call(
        &headers,
        &json!({ "region": "Zürich", "depth": -7, "dry": false, "where": { "zone": "" }, "query": "q" }),
    );
    sent.sort();
    let expected = [
        ("mcp-param-depth", "-7"),
        ("mcp-param-dry", "false"),
        ("mcp-param-region", "=?base64?WsO8cmljaA==?="),
        ("mcp-param-zone", ""),
    ];
    assert_eq!(
        sent,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert!(call(&headers, &json!({ "region": null, "where": 3 })).is_empty());
    assert!(call(&headers, &Value::Null).is_empty());
}

#[test]
fn integers_are_written_in_decimal() {
    let properties = json!({ "n": { "type": "integer", "x-mcp-header": "N" } });
    let (headers, _) = learn(&json!([tool("x", &properties)]));
    for (written, sent) in [
        ("42", Some("42")),
        ("42.0", Some("42")),
        ("1e3", Some("1000")),
        ("9007199254740991", Some("9007199254740991")),
        ("9007199254740992", None),
        ("18446744073709551615", None),
        ("1.5", None),
    ] {
        let arguments = format!(r#"{{"n":{written}}}"#);
        let arguments: Value = serde_json::from_str(&arguments).unwrap();
        let headers = call(&headers, &arguments);
        let value = headers.first().map(|(_, value)| value.as_str());
        assert_eq!(value, sent, "{written}");
    }
}

#[test]
fn tool_with_invalid_annotation_is_removed() {
    let string = |header: &str| json!({ "type": "string", "x-mcp-header": header });
    let flawed = [
        json!({ "a": string("") }),
        json!({ "a": { "type": "string", "x-mcp-header": 7 } }),
        json!({ "a": string("has space") }),
        json!({ "a": string("a:b") }),
        json!({ "a": string("Zürich") }),
        json!({ "a": string("a\r\nb") }),
        json!({ "a": string("Same"), "b": string("same") }),
        json!({ "a": { "type": "number", "x-mcp-header": "A" } }),
        json!({ "a": { "type": "object", "x-mcp-header": "A" } }),
        json!({ "a": { "type": "array", "x-mcp-header": "A" } }),
        json!({ "a": { "x-mcp-header": "A" } }),
        json!({ "a": { "type": "array", "items": string("A") } }),
        json!({ "a": { "anyOf": [string("A")] } }),
        json!({ "a": { "type": "array", "items": { "properties": { "b": string("A") } } } }),
    ];
    for properties in flawed {
        let tools = json!([
            tool("before", &json!({})),
            tool("x", &properties),
            tool("after", &json!({}))
        ]);
        let (headers, filtered) = learn(&tools);
        let filtered = filtered.unwrap_or_else(|| panic!("{properties}"));
        assert_eq!(filtered.rejected.len(), 1, "{properties}");
        assert_eq!(filtered.rejected[0].0, "x");
        let answer: Value = serde_json::from_slice(filtered.answer.bytes()).unwrap();
        let names: Vec<_> = answer["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .collect();
        assert_eq!(names.len(), 2);
        assert_eq!(
            (&names[0]["name"], &names[1]["name"]),
            (&json!("before"), &json!("after"))
        );
        assert!(call(&headers, &json!({ "a": "v" })).is_empty());
    }
}

#[test]
fn odd_sibling_hides_no_value() {
    let properties = json!({ "a": { "type": "string", "x-mcp-header": "A" } });
    let (headers, _) = learn(&json!([tool("x", &properties)]));
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for odd in ["1e400", r#""\ud800""#, r#"{"a":1,"a":2}"#, &deep] {
        let params = format!(r#"{{"\ud800":1,"name":"x","arguments":{{"odd":{odd},"a":"v"}}}}"#);
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let call = Message::parse(Bytes::from(text)).unwrap();
        assert_eq!(headers.values(&call)[0].1, "v", "{odd}");
    }
}

#[test]
fn annotation_name_outside_schema_is_ignored() {
    for properties in [
        json!({ "x-mcp-header": { "type": "string" } }),
        json!({ "a": { "type": "object", "default": { "x-mcp-header": "" } } }),
        json!({ "a": { "enum": [{ "x-mcp-header": 1 }] } }),
        json!({ "a": { "type": "string", "description": "x-mcp-header" } }),
    ] {
        assert!(
            learn(&json!([tool("x", &properties)])).1.is_none(),
            "{properties}"
        );
    }
}

#[test]
fn valid_tools_keep_their_bytes() {
    let text = r#"{ "jsonrpc":"2.0","id":1, "result":{"tools":[ {"name":"a","n":1.0,"big":123456789012345678901} ,{"name":"b","inputSchema":{"properties":{"p":{"x-mcp-header":""}}}}, {"name":"c","inputSchema":{}} ], "ttlMs":1e2}}"#;
    let answer = Message::parse(Bytes::from_static(text.as_bytes())).unwrap();
    let filtered = ToolHeaders::default().learn(&answer).unwrap();
    let expected = r#"{ "jsonrpc":"2.0","id":1, "result":{"tools":[ {"name":"a","n":1.0,"big":123456789012345678901},{"name":"c","inputSchema":{}} ], "ttlMs":1e2}}"#;
    assert_eq!(filtered.answer.bytes(), expected);

    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"b","inputSchema":{"x-mcp-header":"Root"}}]}}"#;
    let answer = Message::parse(Bytes::from_static(text.as_bytes())).unwrap();
    let filtered = ToolHeaders::default().learn(&answer).unwrap();
    assert_eq!(
        filtered.answer.bytes(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#
    );
}

#[test]
fn later_list_replaces_headers() {
    let wanted = json!({ "a": { "type": "string", "x-mcp-header": "A" } });
    let (headers, _) = learn(&json!([tool("x", &wanted)]));
    assert_eq!(call(&headers, &json!({ "a": "1" })).len(), 1);
    // Another page says nothing of it.
    assert!(
        headers
            .learn(&listed(&json!([tool("y", &json!({}))])))
            .is_none()
    );
    assert_eq!(call(&headers, &json!({ "a": "1" })).len(), 1);
    headers.learn(&listed(&json!([tool("x", &json!({}))])));
    assert!(call(&headers, &json!({ "a": "1" })).is_empty());
}
