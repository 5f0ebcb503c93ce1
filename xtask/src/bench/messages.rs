//! The messages that the measurements send.

use serde_json::json;

/// The notification after the response to the handshake.
pub(super) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

pub(super) fn handshake() -> String {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "bench", "version": "1.0.0" },
        },
    })
    .to_string()
}

pub(super) fn call(id: u64) -> String {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "hello_mcp", "arguments": {} },
    })
    .to_string()
}

/// Builds a call of the server's only tool. `text` must need no escapes.
pub(super) fn echo(id: u64, text: &str, times: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{text}","times":{times}}}}}}}"#
    )
}
