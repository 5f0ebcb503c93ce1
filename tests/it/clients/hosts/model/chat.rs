//! OpenAI's Chat Completions API.

use serde_json::{Value, json};

use super::{ModelResponse, Tool, Turn, elements, text};

/// Reads the offered tools and the earlier calls of a request.
pub(super) fn turn(request: &Value) -> Turn {
    let mut turn = Turn {
        offered: elements(&request["tools"])
            .filter_map(|tool| Tool::named(&tool["function"]["name"]))
            .collect(),
        ..Turn::default()
    };
    for message in elements(&request["messages"]) {
        let calls = elements(&message["tool_calls"]);
        turn.called
            .extend(calls.map(|call| text(&call["function"]["name"])));
        if message["role"] == "tool" {
            turn.results.push(text(&message["content"]));
        }
    }
    turn
}

/// Returns the response as a stream of events.
pub(super) fn events(answer: &ModelResponse) -> Vec<Value> {
    let (delta, reason) = match answer {
        ModelResponse::Call { id, tool } => {
            let call = json!({
                "index": 0,
                "id": id,
                "type": "function",
                "function": { "name": tool.name, "arguments": "{}" },
            });
            (
                json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
                "tool_calls",
            )
        }
        ModelResponse::Text(text) => (json!({ "role": "assistant", "content": text }), "stop"),
    };
    let usage = json!({ "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 });
    [
        json!([{ "index": 0, "delta": delta, "finish_reason": null }]),
        json!([{ "index": 0, "delta": {}, "finish_reason": reason }]),
    ]
    .map(|choices| {
        json!({
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "scripted",
            "choices": choices,
            "usage": usage,
        })
    })
    .into()
}
