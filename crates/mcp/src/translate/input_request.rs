//! What a server can want of its client: `elicitation/create`, `sampling/createMessage` and
//! `roots/list`. A request to the client in the one era, a part of a result in the other.

use crate::era::MISSING_CAPABILITY;
use crate::splice::{Object, quoted};
use crate::{Message, RequestId};

/// What a client would have to be capable of to fulfil the wish, as a JSON text, if it is not.
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
        // Whoever names no mode can do forms.
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

/// Tells a host that it would have to be capable of more.
pub(super) fn missing_capability_error(host: &RequestId, missing: &str) -> Message {
    let text = quoted("the server needs something that this client cannot do");
    let error = format!(
        r#"{{"code":{MISSING_CAPABILITY},"message":{text},"data":{{"requiredCapabilities":{missing}}}}}"#
    );
    Message::raw_error(host, &error)
}
