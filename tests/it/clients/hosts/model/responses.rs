//! OpenAI's Responses API.

use serde_json::{Value, json};

use super::{ModelResponse, Tool, Turn, elements, text};

/// Reads the offered tools and the earlier calls of a request.
pub(super) fn turn(request: &Value) -> Turn {
    let mut turn = Turn {
        offered: elements(&request["tools"]).flat_map(tools).collect(),
        ..Turn::default()
    };
    for item in elements(&request["input"]) {
        match item["type"].as_str() {
            Some("function_call") => turn.called.push(text(&item["name"])),
            Some("function_call_output") => turn.results.push(text(&item["output"])),
            _ => {}
        }
    }
    turn
}

/// Returns the tools of a namespace, or a single tool without one.
fn tools(tool: &Value) -> Vec<Tool> {
    if tool["type"] != "namespace" {
        return Tool::named(&tool["name"]).into_iter().collect();
    }
    let namespace = tool["name"].as_str().map(str::to_owned);
    let tools = elements(&tool["tools"]).filter_map(|tool| Tool::named(&tool["name"]));
    tools
        .map(|tool| Tool {
            namespace: namespace.clone(),
            ..tool
        })
        .collect()
}

/// Returns the response as a stream of events.
pub(super) fn events(answer: &ModelResponse) -> Vec<Value> {
    let item = match answer {
        ModelResponse::Call { id, tool } => {
            let mut call = json!({
                "type": "function_call",
                "id": format!("fc_{id}"),
                "call_id": id,
                "name": tool.name,
                "arguments": "{}",
                "status": "completed",
            });
            if let Some(namespace) = &tool.namespace {
                call["namespace"] = json!(namespace);
            }
            call
        }
        ModelResponse::Text(text) => json!({
            "type": "message",
            "id": "msg_scripted",
            "role": "assistant",
            "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        }),
    };
    let response = json!({
        "id": "resp_scripted",
        "object": "response",
        "status": "completed",
        "model": "scripted",
        "output": [item],
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 1,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 2,
        },
    });
    vec![
        json!({ "type": "response.created", "response": { "id": "resp_scripted" } }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": response }),
    ]
}
