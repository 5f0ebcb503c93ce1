//! Google's Gemini API.

use serde_json::{Value, json};

use super::{Answer, Tool, Turn, elements, text};

/// Reads what a request offers, and what became of earlier calls.
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

/// The answer, which is a stream of one event.
pub(super) fn event(answer: &Answer) -> Value {
    let part = match answer {
        Answer::Call { id, tool } => {
            json!({ "functionCall": { "id": id, "name": tool.name, "args": {} } })
        }
        Answer::Text(text) => json!({ "text": text }),
    };
    let content = json!({ "role": "model", "parts": [part] });
    json!({
        "candidates": [{ "index": 0, "content": content, "finishReason": "STOP" }],
        "usageMetadata": { "promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2 },
        "modelVersion": "scripted",
        "responseId": "scripted",
    })
}
