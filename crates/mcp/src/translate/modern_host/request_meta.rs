//! The `_meta` of each request (2026-07-28, basic, "Per-request protocol fields").
//!
//! Owns: reading it, and removing it from the request to the server.

use super::super::LOG_LEVELS;
use super::Call;
use crate::era::UNSUPPORTED_VERSION;
use crate::message::INVALID_PARAMS;
use crate::meta::{
    META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, META_PROTOCOL_VERSION,
};
use crate::splice::{Object, quoted, with};
use crate::{Message, RequestId, SUPPORTED_MODERN};

use super::super::Action;

/// The `_meta` of a request. Values are as the host wrote them.
#[derive(Clone, Debug)]
pub(super) struct RequestMeta {
    /// The client info, if any.
    pub(super) info: Option<String>,
    pub(super) capabilities: String,
    /// The token under which the host gets the progress of this request.
    pub(super) token: Option<String>,
    /// The index in [`LOG_LEVELS`] of the lowest level of log messages that the host wants.
    pub(super) level: Option<usize>,
}

/// Why a request is rejected.
#[derive(Debug)]
pub(super) enum MetaError {
    /// A member is missing or invalid.
    Malformed(&'static str),
    /// Postern does not support this version.
    Version(String),
}

impl RequestMeta {
    pub(super) fn from_params(params: &Object<'_>) -> Result<Self, MetaError> {
        let meta = params.object("_meta");
        let version = meta.string(META_PROTOCOL_VERSION);
        let version = version.ok_or(MetaError::Malformed("`_meta` names no protocol version"))?;
        if !SUPPORTED_MODERN.contains(&version.as_str()) {
            return Err(MetaError::Version(version));
        }
        let capabilities = meta.get(META_CLIENT_CAPABILITIES);
        let capabilities =
            capabilities.ok_or(MetaError::Malformed("`_meta` has no client capabilities"))?;
        let level = meta.get(META_LOG_LEVEL).map(level).transpose()?;
        Ok(Self {
            info: meta.get(META_CLIENT_INFO).map(str::to_owned),
            capabilities: capabilities.to_owned(),
            token: meta.get("progressToken").map(str::to_owned),
            level,
        })
    }

    /// Returns true if the host wants this log message of the server.
    pub(super) fn wants_log(&self, message: &Message) -> bool {
        let said = Object::from_raw(message.params()).get("level").map(level);
        match (self.level, said) {
            (Some(from), Some(Ok(said))) => said >= from,
            (Some(_), _) => true,
            (None, _) => false,
        }
    }
}

impl MetaError {
    pub(super) fn answer(&self, id: &RequestId) -> Action {
        let (code, text, data) = match self {
            Self::Malformed(text) => (INVALID_PARAMS, *text, None),
            Self::Version(requested) => {
                let data =
                    serde_json::json!({ "supported": SUPPORTED_MODERN, "requested": requested });
                (
                    UNSUPPORTED_VERSION,
                    "unsupported protocol version",
                    Some(data),
                )
            }
        };
        Action::answer(Message::error_response(Some(id), code, text, data))
    }
}

fn level(json: &str) -> Result<usize, MetaError> {
    let found = LOG_LEVELS.iter().position(|level| quoted(level) == json);
    found.ok_or(MetaError::Malformed("unknown log level"))
}

/// Removes the keys of the modern era from `_meta`.
pub(super) fn strip(params: &mut Object<'_>) {
    let mut meta = params.object("_meta");
    for key in [
        META_PROTOCOL_VERSION,
        META_CLIENT_INFO,
        META_CLIENT_CAPABILITIES,
        META_LOG_LEVEL,
    ] {
        meta.cut(key);
    }
    let meta = (!meta.is_empty()).then(|| meta.text());
    match meta {
        Some(meta) => params.put("_meta", meta),
        None => params.cut("_meta"),
    }
}

/// Returns a progress notification under the token of the host's latest attempt. Returns `None` if
/// the host sent no token.
pub(super) fn progress(message: &Message, params: &Object<'_>, call: &Call) -> Option<Message> {
    let token = call.meta.token.as_deref()?;
    if params.get("progressToken") == Some(token) {
        return Some(message.clone());
    }
    let mut params = params.clone();
    params.put("progressToken", token.to_owned());
    Some(with(message, None, &params.text()))
}
