//! The messages that the shim itself sends to a host.

use control::api::{Problem, ProblemKind};
use mcp::handshake::InitializeParams;
use mcp::message::INVALID_REQUEST;
use mcp::meta::META_SERVER_INFO;
use mcp::{LATEST_LEGACY, LATEST_MODERN, Message, RequestId, SUPPORTED_LEGACY};
use serde_json::{Value, json};

/// Returns the response that keeps a host going while the bridge does not respond: to a handshake, as
/// the bridge answers it for a server without a cache, and to `ping`. Returns `None` for any other
/// request.
pub(crate) fn fallback(id: &RequestId, request: &Message) -> Option<Message> {
    let result = match request.method()? {
        "initialize" => initialize_result(request),
        "server/discover" => discover_result(),
        "ping" => json!({}),
        _ => return None,
    };
    Some(Message::response(id, &result))
}

fn initialize_result(request: &Message) -> Value {
    let asked = InitializeParams::from_request(request).map(|params| params.protocol_version);
    let asked = asked
        .as_deref()
        .filter(|asked| SUPPORTED_LEGACY.contains(asked));
    json!({
        "protocolVersion": asked.unwrap_or(LATEST_LEGACY),
        "capabilities": capabilities(),
        "serverInfo": server_info(),
    })
}

fn discover_result() -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": [LATEST_MODERN],
        "capabilities": capabilities(),
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { META_SERVER_INFO: server_info() },
    })
}

fn capabilities() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true },
    })
}

fn server_info() -> Value {
    json!({ "name": "postern", "version": env!("CARGO_PKG_VERSION") })
}

/// Returns the notifications after which a host requests its lists, for use once a bridge has taken a
/// handshake that [`fallback`] answered.
pub(crate) fn list_changes() -> [Message; 3] {
    ["tools", "prompts", "resources"]
        .map(|list| Message::notification(&format!("notifications/{list}/list_changed"), None))
}

/// Returns the error for a request that was pending when the bridge ended or stopped responding.
pub(crate) fn outcome_unknown(id: &RequestId, server: &str, hung: Option<&Problem>) -> Message {
    let cause = match hung {
        Some(hung) => format!("{}, and this request is pending", hung.message),
        None => "Postern's bridge ended while this request was pending".to_owned(),
    };
    let message = format!("{server}: {cause}, so it may or may not have been carried out");
    let hint = "check whether it was carried out before you repeat it";
    let hint = match hung.and_then(|hung| hung.hint.as_deref()) {
        Some(first) => format!("{first}; {hint}"),
        None => hint.to_owned(),
    };
    error(
        id,
        server,
        &Problem::new(ProblemKind::Unreachable, message).with_hint(hint),
    )
}

/// Returns the error for a message that is too long for a bridge.
pub(crate) fn too_long(id: Option<&RequestId>) -> Message {
    let message = "the message is longer than 64 MiB; hint: send less at a time";
    Message::error_response(id, INVALID_REQUEST, message, None)
}

/// Returns the cancellation of a server's request whose bridge has ended.
pub(crate) fn cancelled(id: &RequestId) -> Message {
    Message::cancellation_with_reason(id, "Postern's bridge was restarted")
}

/// Returns the error response for a problem. Its message includes the hint, because many hosts show
/// only `message`.
pub(crate) fn error(id: &RequestId, server: &str, problem: &Problem) -> Message {
    let data = json!({ "kind": problem.kind, "server": server, "hint": problem.hint });
    let message = problem.sentence();
    Message::error_response(Some(id), problem.kind.code(), &message, Some(data))
}
