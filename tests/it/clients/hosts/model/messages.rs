//! Anthropic's Messages API.

use serde_json::{Value, json};

use super::{ModelResponse, Tool, Turn, elements, text};

/// Reads the offered tools and the earlier calls of a request.
pub(super) fn turn(request: &Value) -> Turn {
    let mut turn = Turn {
        offered: elements(&request["tools"])
            .filter_map(|tool| Tool::named(&tool["name"]))
            .collect(),
        ..Turn::default()
    };
    for part in elements(&request["messages"]).flat_map(|message| elements(&message["content"])) {
        match part["type"].as_str() {
            Some("tool_use") => turn.called.push(text(&part["name"])),
            Some("tool_result") => turn.results.push(text(&part["content"])),
            _ => {}
        }
    }
    turn
}

/// Returns the response as a stream of events.
pub(super) fn events(answer: &ModelResponse) -> Vec<Value> {
    let (block, delta, reason) = match answer {
        ModelResponse::Call { id, tool } => (
            json!({ "type": "tool_use", "id": id, "name": tool.name, "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": "{}" }),
            "tool_use",
        ),
        ModelResponse::Text(text) => (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": text }),
            "end_turn",
        ),
    };
    let message = json!({
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": { "input_tokens": 1, "output_tokens": 1 },
    });
    vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": reason, "stop_sequence": null },
            "usage": { "output_tokens": 1 },
        }),
        json!({ "type": "message_stop" }),
    ]
}
