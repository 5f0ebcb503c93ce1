//! The responses of the host and its user to the requests of the server.

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// Returns the response of the host and its user to a server's request.
pub(crate) fn answer(request: &Value) -> Result<Value> {
    match request["method"].as_str() {
        Some("ping") => Ok(json!({})),
        Some("roots/list") => Ok(json!({ "roots": [] })),
        Some("sampling/createMessage") => Ok(json!({
            "role": "assistant",
            "content": { "type": "text", "text": "an answer" },
            "model": "none",
        })),
        Some("elicitation/create") => {
            let form = sample(&request["params"]["requestedSchema"]);
            Ok(json!({ "action": "accept", "content": form }))
        }
        _ => bail!("a request that no server should make: {request}"),
    }
}

/// Returns a value that matches a schema: the default if there is one.
pub(crate) fn sample(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match schema["type"].as_str() {
        Some("object") | None => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields = properties.map(|(name, schema)| (name.clone(), sample(schema)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(2),
        Some("null") => Value::Null,
        Some(_) => json!("some text"),
    }
}
