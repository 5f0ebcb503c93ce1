//! What the shim itself says to a host.

use control::api::{Problem, ProblemKind};
use mcp::message::INVALID_REQUEST;
use mcp::{Message, RequestId};
use serde_json::json;

/// A request that no bridge takes.
pub(crate) fn refused(id: &RequestId, server: &str, problem: &Problem) -> Message {
    error(id, server, problem)
}

/// A request that was under way when the bridge was lost.
pub(crate) fn unknown_fate(id: &RequestId, server: &str) -> Message {
    let message = format!(
        "{server}: Postern's bridge ended while this request was under way, so it may or may not have been carried out"
    );
    let hint = "look whether it was carried out before you repeat it";
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
pub(crate) fn withdrawn(id: &RequestId) -> Message {
    Message::withdrawal(id, "Postern's bridge was restarted")
}

/// Many hosts show `message` alone, so it says what to do as well.
fn error(id: &RequestId, server: &str, problem: &Problem) -> Message {
    let data = json!({ "kind": problem.kind, "server": server, "hint": problem.hint });
    let message = problem.sentence();
    Message::error_response(Some(id), problem.kind.code(), &message, Some(data))
}
