//! Input that a server may request of its client: `elicitation/create`, `sampling/createMessage`
//! and `roots/list`. In the legacy era it is a request to the client, in the modern era a part of a
//! result.

use crate::era::MISSING_CAPABILITY;
use crate::splice::{Object, quoted};
use crate::{Message, RequestId};

/// Returns the capability that the input request needs and the client lacks, as JSON text. Returns
/// `None` if the client lacks none.
pub(super) fn missing_capability(
    capabilities: &Object<'_>,
    request: &Object<'_>,
) -> Option<String> {
    let (params, method) = (request.object("params"), request.string("method"));
    let part = |name: &str, part: &str| {
        let has = capabilities.object(name).get(part).is_some();
        (!has).then(|| format!(r#"{{"{name}":{{"{part}":{{}}}}}}"#))
    };
    let whole = |name: &str| {
        let has = capabilities.get(name).is_some();
        (!has).then(|| format!(r#"{{"{name}":{{}}}}"#))
    };
    match method.as_deref() {
        Some("elicitation/create") if params.string("mode").as_deref() == Some("url") => {
            part("elicitation", "url")
        }
        // Clients that name no mode support forms.
        Some("elicitation/create") if !capabilities.object("elicitation").is_empty() => {
            part("elicitation", "form")
        }
        Some("elicitation/create") => whole("elicitation"),
        Some("sampling/createMessage") if params.get("tools").is_some() => {
            part("sampling", "tools")
        }
        Some("sampling/createMessage") => whole("sampling"),
        Some("roots/list") => whole("roots"),
        Some(_) | None => Some("{}".to_owned()),
    }
}

/// Builds the error response to a host that lacks a required capability.
pub(super) fn missing_capability_error(host: &RequestId, missing: &str) -> Message {
    let text = quoted("the server requires a capability that this client lacks");
    let error = format!(
        r#"{{"code":{MISSING_CAPABILITY},"message":{text},"data":{{"requiredCapabilities":{missing}}}}}"#
    );
    Message::raw_error(host, &error)
}
