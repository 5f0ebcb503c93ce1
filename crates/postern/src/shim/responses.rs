//! What the shim itself says to a host.

use control::api::{Problem, ProblemKind};
use mcp::era::META_SERVER_INFO;
use mcp::handshake::InitializeParams;
use mcp::message::INVALID_REQUEST;
use mcp::{LATEST_LEGACY, LATEST_MODERN, Message, RequestId, SUPPORTED_LEGACY};
use serde_json::{Value, json};

/// What keeps a host going while the bridge does not react: the answer to a handshake, as the
/// bridge gives it for a server that was never seen, and to `ping`. Returns `None` for any other
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
    let asked = InitializeParams::of(request).map(|params| params.protocol_version);
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

/// What makes a host ask for its lists, once there is a server behind the handshake that it got
/// from [`fallback`].
pub(crate) fn list_changes() -> [Message; 3] {
    ["tools", "prompts", "resources"]
        .map(|list| Message::notification(&format!("notifications/{list}/list_changed"), None))
}

/// A request that was under way when the bridge was lost, or did not react any more.
pub(crate) fn outcome_unknown(id: &RequestId, server: &str, hung: Option<&Problem>) -> Message {
    let happened = match hung {
        Some(hung) => format!("{}, and this request is under way", hung.message),
        None => "Postern's bridge ended while this request was under way".to_owned(),
    };
    let message = format!("{server}: {happened}, so it may or may not have been carried out");
    let hint = "look whether it was carried out before you repeat it";
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

/// A message that no bridge would take.
pub(crate) fn too_long(id: Option<&RequestId>) -> Message {
    let message = "the message is longer than 64 MiB; hint: send less at a time";
    Message::error_response(id, INVALID_REQUEST, message, None)
}

/// A request of the server's that went with its bridge.
pub(crate) fn cancelled(id: &RequestId) -> Message {
    Message::withdrawal(id, "Postern's bridge was restarted")
}

/// Many hosts show `message` alone, so it says what to do as well.
pub(crate) fn error(id: &RequestId, server: &str, problem: &Problem) -> Message {
    let data = json!({ "kind": problem.kind, "server": server, "hint": problem.hint });
    let message = problem.sentence();
    Message::error_response(Some(id), problem.kind.code(), &message, Some(data))
}
