//! Google's Gemini API.

use serde_json::{Value, json};

use super::{ModelResponse, Tool, Turn, elements, text};

/// Reads the offered tools and the earlier calls of a request.
pub(super) fn turn(request: &Value) -> Turn {
    let declared = elements(&request["tools"]);
    let declared = declared.flat_map(|tool| elements(&tool["functionDeclarations"]));
    let parts = elements(&request["contents"]).flat_map(|content| elements(&content["parts"]));
    let mut turn = Turn {
        offered: declared
            .filter_map(|tool| Tool::named(&tool["name"]))
            .collect(),
        ..Turn::default()
    };
    for part in parts {
        if let Some(call) = part.get("functionCall") {
            turn.called.push(text(&call["name"]));
        }
        if let Some(result) = part.get("functionResponse") {
            turn.results.push(text(&result["response"]));
        }
    }
    turn
}

/// Returns the response as one event.
pub(super) fn event(answer: &ModelResponse) -> Value {
    let part = match answer {
        ModelResponse::Call { id, tool } => {
            json!({ "functionCall": { "id": id, "name": tool.name, "args": {} } })
        }
        ModelResponse::Text(text) => json!({ "text": text }),
    };
    let content = json!({ "role": "model", "parts": [part] });
    json!({
        "candidates": [{ "index": 0, "content": content, "finishReason": "STOP" }],
        "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 },
        "modelVersion": "scripted",
        "responseId": "scripted",
    })
}
