//! One JSON-RPC message, whose bytes are never changed.
//!
//! Owns: the envelope (`jsonrpc`, `id`, `method`, and the positions of `params`, `result` and
//! `error`), and building the few messages that Postern sends itself. Does not own: the content,
//! which passes unchanged, with unknown fields, odd numbers and escapes.

mod param_ranges;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::memory::Account;
use crate::{RequestId, json, members};
use param_ranges::ParamRanges;

/// The text is not JSON (JSON-RPC 2.0 §5.1).
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is not a message (JSON-RPC 2.0 §5.1).
pub const INVALID_REQUEST: i64 = -32600;
/// The method does not exist (JSON-RPC 2.0 §5.1).
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are invalid (JSON-RPC 2.0 §5.1).
pub const INVALID_PARAMS: i64 = -32602;
/// The request failed for an internal reason (JSON-RPC 2.0 §5.1).
pub const INTERNAL_ERROR: i64 = -32603;

/// How many messages a host may send in one array. Each gets a response, so a short line of numbers
/// would cause as many errors. Known hosts send at most a few dozen.
pub const MAX_BATCH_MESSAGES: usize = 1000;

/// One message and the bytes it arrived as. Clones share the bytes.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    kind: Kind,
    /// The position of `params`, `result` or `error` in `bytes`.
    body: Option<Range<usize>>,
    /// The positions of the values in `params` that are read.
    param_ranges: Option<Arc<ParamRanges>>,
}

/// The kind of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Expects a response.
    Request {
        /// The id that the response repeats.
        id: RequestId,
        /// The requested method.
        method: Arc<str>,
    },
    /// Expects no response.
    Notification {
        /// The method of the notification.
        method: Arc<str>,
    },
    /// The response to a request.
    Response {
        /// The id of the request.
        id: RequestId,
        /// True if it carries `error` instead of `result`.
        is_error: bool,
    },
    /// An error about a message whose id could not be read (`"id": null`, or none).
    ErrorWithoutId,
}

/// Why bytes are not one message. Its text quotes nothing of them.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// JSON is UTF-8 (RFC 8259, section 8.1).
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// Not JSON, or cut off.
    #[error("the message is not JSON ({0})")]
    NotJson(String),
    /// Several messages in one array where only one is accepted.
    #[error("several messages in one array; hint: send each on its own")]
    Batch,
    /// An array without a message.
    #[error("an array without a message")]
    EmptyBatch,
    /// An array of more messages than a host may send at once.
    #[error("more than {MAX_BATCH_MESSAGES} messages in one array; hint: send fewer at once")]
    LongBatch,
    /// `initialize` in an array (2025-03-26, basic/lifecycle).
    #[error("`initialize` in an array of messages; hint: send it on its own")]
    InitializeInBatch,
    /// JSON, but not a JSON-RPC 2.0 message as MCP defines them.
    #[error("the message is not JSON-RPC 2.0: {0}")]
    Invalid(String),
}

impl Message {
    /// Parses the envelope and keeps the bytes.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly one message. A repeated name in the envelope is an error,
    /// because two readers could see two different messages.
    ///
    /// Other tasks continue while a large message is parsed ([`threads::pass`]).
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        threads::pass(bytes.len(), || Self::parse_here(bytes))
    }

    fn parse_here(bytes: Bytes) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(&bytes).map_err(|_| ParseError::NotUtf8)?;
        let envelope = Envelope::parse(text)?;
        let kind = envelope.kind()?;
        let body = envelope.body(&kind).map(|raw| range_in(text, raw.get()));
        let param_ranges = body.as_ref().and_then(|range: &Range<usize>| {
            ParamRanges::locate(&kind, text.get(range.clone())?, range.start)
        });
        Ok(Self {
            bytes,
            kind,
            body,
            param_ranges,
        })
    }

    /// Returns the message as it arrived.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Counts the memory of a message that was built here.
    pub fn count(&mut self, memory: &Account) {
        self.bytes = memory.count(std::mem::take(&mut self.bytes));
    }

    /// Returns the kind of the message.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the id of a request or a response.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        match &self.kind {
            Kind::Request { id, .. } | Kind::Response { id, .. } => Some(id),
            Kind::Notification { .. } | Kind::ErrorWithoutId => None,
        }
    }

    /// Returns the method of a request or a notification.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method } => Some(method),
            Kind::Response { .. } | Kind::ErrorWithoutId => None,
        }
    }

    /// Returns the parameters of a request or a notification.
    #[must_use]
    pub fn params(&self) -> Option<&RawValue> {
        match self.kind {
            Kind::Request { .. } | Kind::Notification { .. } => self.body(),
            Kind::Response { .. } | Kind::ErrorWithoutId => None,
        }
    }

    /// Returns the result of a response.
    #[must_use]
    pub fn result(&self) -> Option<&RawValue> {
        match self.kind {
            Kind::Response {
                is_error: false, ..
            } => self.body(),
            Kind::Response { is_error: true, .. }
            | Kind::Request { .. }
            | Kind::Notification { .. }
            | Kind::ErrorWithoutId => None,
        }
    }

    /// Returns the error of a response, or of a message without an id.
    #[must_use]
    pub fn error(&self) -> Option<&RawValue> {
        match self.kind {
            Kind::Response { is_error: true, .. } | Kind::ErrorWithoutId => self.body(),
            Kind::Response {
                is_error: false, ..
            }
            | Kind::Request { .. }
            | Kind::Notification { .. } => None,
        }
    }

    /// Returns the progress token of a request's `_meta` or of `notifications/progress`: a string
    /// or a number, like an id (2025-11-25, basic/utilities/progress).
    #[must_use]
    pub fn progress_token(&self) -> Option<RequestId> {
        let ranges = self.param_ranges.as_deref()?;
        let token = match &self.kind {
            Kind::Request { .. } => &ranges.given_token,
            Kind::Notification { method } if **method == *"notifications/progress" => {
                &ranges.repeated_token
            }
            Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => &None,
        };
        RequestId::from_json(self.text(token.as_ref()?)?)
    }

    /// Returns the positions of the values in `params` that are read.
    pub(crate) fn param_ranges(&self) -> Option<&ParamRanges> {
        self.param_ranges.as_deref()
    }

    /// Returns the JSON text in this range of the message.
    pub(crate) fn text(&self, range: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(range.clone())?).ok()
    }

    /// Returns true if the message expects no response.
    pub(crate) fn is_no_request(&self) -> bool {
        !matches!(self.kind, Kind::Request { .. })
    }

    /// Returns true if this is the response to the request.
    #[must_use]
    pub fn answers(&self, request: &RequestId) -> bool {
        self.method().is_none() && self.id() == Some(request)
    }

    /// Returns the code of the error. Returns `None` if this is not an error.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Error {
            code: i64,
        }
        let error = json::read::<Error>(self.error()?.get()).ok();
        error.map(|error| error.code)
    }

    /// Returns the message without line breaks, as stdio framing requires, and without one at its
    /// end.
    ///
    /// JSON has raw line breaks only between tokens, where they mean nothing. Copies only if there
    /// is one.
    #[must_use]
    pub fn line(&self) -> Bytes {
        threads::pass(self.bytes.len(), || self.line_here())
    }

    fn line_here(&self) -> Bytes {
        let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
        if memchr::memchr2(b'\n', b'\r', &self.bytes).is_none() {
            return self.bytes.clone();
        }
        let mut line = BytesMut::with_capacity(self.bytes.len());
        for part in self.bytes.split(breaks) {
            line.extend_from_slice(part);
        }
        line.freeze()
    }

    fn body(&self) -> Option<&RawValue> {
        let text = self.bytes.get(self.body.clone()?)?;
        threads::pass(text.len(), || serde_json::from_slice(text).ok())
    }
}

/// Messages that Postern builds.
impl Message {
    /// Builds the response to the request `id`.
    ///
    /// A result that cannot be serialized becomes the error -32603.
    #[must_use]
    pub fn response(id: &RequestId, result: &impl Serialize) -> Self {
        match serde_json::value::to_raw_value(result) {
            Ok(result) => Self::raw_response(id, result.get()),
            Err(_) => {
                Self::error_response(Some(id), INTERNAL_ERROR, "the result is not JSON", None)
            }
        }
    }

    /// Builds the error response to the request `id`, or to an unreadable message if that is
    /// `None`.
    #[must_use]
    pub fn error_response(
        id: Option<&RequestId>,
        code: i64,
        message: &str,
        data: Option<Value>,
    ) -> Self {
        let mut error = serde_json::json!({ "code": code, "message": message });
        if let Some(data) = data {
            error["data"] = data;
        }
        let kind = id.map_or(Kind::ErrorWithoutId, |id| Kind::Response {
            id: id.clone(),
            is_error: true,
        });
        let id = id.map_or("null", RequestId::as_json);
        Self::build(kind, Some(id), Some(("error", &error.to_string())))
    }

    /// Builds an error response to `id` with the error of this message, for servers whose error
    /// does not name the request. Returns `None` if this is not an error.
    #[must_use]
    pub fn error_for(&self, id: &RequestId) -> Option<Self> {
        Some(Self::raw_error(id, self.error()?.get()))
    }

    /// Builds a notification.
    #[must_use]
    pub fn notification(method: &str, params: Option<Value>) -> Self {
        let kind = Kind::Notification {
            method: method.into(),
        };
        let params = params.map(|params| params.to_string());
        Self::build(kind, None, params.as_deref().map(|text| ("params", text)))
    }

    /// Builds a request.
    #[must_use]
    pub fn request(id: &RequestId, method: &str, params: Option<Value>) -> Self {
        let kind = Kind::Request {
            id: id.clone(),
            method: method.into(),
        };
        let params = params.map(|params| params.to_string());
        let body = params.as_deref().map(|text| ("params", text));
        Self::build(kind, Some(id.as_json()), body)
    }

    /// Returns the id of the cancelled request. Returns `None` if this is not
    /// `notifications/cancelled` (2025-11-25, basic/utilities/cancellation).
    #[must_use]
    pub fn cancels(&self) -> Option<RequestId> {
        #[derive(Deserialize)]
        struct Cancelled<'a> {
            #[serde(borrow, rename = "requestId")]
            request_id: &'a RawValue,
        }
        if self.method() != Some("notifications/cancelled") {
            return None;
        }
        let cancelled: Cancelled<'_> = json::read(self.params()?.get()).ok()?;
        RequestId::from_json(cancelled.request_id.get())
    }

    /// Builds the notification that cancels the request `id`.
    pub(crate) fn cancellation(id: &RequestId) -> Self {
        let params = format!(r#"{{"requestId":{}}}"#, id.as_json());
        Self::raw_notification("notifications/cancelled", &params)
    }

    /// Builds the notification that cancels the request `id`, with a reason for users.
    #[must_use]
    pub fn cancellation_with_reason(id: &RequestId, reason: &str) -> Self {
        let (id, reason) = (id.as_json(), Value::from(reason));
        let params = format!(r#"{{"requestId":{id},"reason":{reason}}}"#);
        Self::raw_notification("notifications/cancelled", &params)
    }

    /// Builds the same request with another id. Returns `None` if this is not a request. Only the
    /// members of the envelope that JSON-RPC defines are kept.
    #[must_use]
    pub fn with_id(&self, id: &RequestId) -> Option<Self> {
        let Kind::Request { method, .. } = &self.kind else {
            return None;
        };
        Some(Self::raw_request(
            id,
            method,
            self.params().map(RawValue::get),
        ))
    }

    /// Builds a request with this JSON text as its parameters.
    pub(crate) fn raw_request(id: &RequestId, method: &str, params: Option<&str>) -> Self {
        let kind = Kind::Request {
            id: id.clone(),
            method: method.into(),
        };
        let body = params.map(|text| ("params", text));
        Self::build(kind, Some(id.as_json()), body)
    }

    /// Builds a notification with this JSON text as its parameters.
    pub(crate) fn raw_notification(method: &str, params: &str) -> Self {
        let kind = Kind::Notification {
            method: method.into(),
        };
        Self::build(kind, None, Some(("params", params)))
    }

    /// Builds the response to the request `id` with this JSON text as its result.
    pub(crate) fn raw_response(id: &RequestId, result: &str) -> Self {
        let kind = Kind::Response {
            id: id.clone(),
            is_error: false,
        };
        Self::build(kind, Some(id.as_json()), Some(("result", result)))
    }

    /// Builds the response to the request `id` with this JSON text as its error.
    pub(crate) fn raw_error(id: &RequestId, error: &str) -> Self {
        let kind = Kind::Response {
            id: id.clone(),
            is_error: true,
        };
        Self::build(kind, Some(id.as_json()), Some(("error", error)))
    }

    fn build(kind: Kind, id: Option<&str>, body: Option<(&str, &str)>) -> Self {
        let size = body.map_or(0, |(_, text)| text.len());
        threads::pass(size, || Self::build_here(kind, id, body))
    }

    fn build_here(kind: Kind, id: Option<&str>, body: Option<(&str, &str)>) -> Self {
        let mut bytes = BytesMut::with_capacity(128 + body.map_or(0, |(_, text)| text.len()));
        bytes.put_slice(br#"{"jsonrpc":"2.0""#);
        if let Some(id) = id {
            bytes.put_slice(br#","id":"#);
            bytes.put_slice(id.as_bytes());
        }
        if let Kind::Request { method, .. } | Kind::Notification { method } = &kind {
            bytes.put_slice(br#","method":"#);
            bytes.put_slice(Value::from(&**method).to_string().as_bytes());
        }
        let mut param_ranges = None;
        let body = body.map(|(name, text)| {
            bytes.put_slice(format!(r#","{name}":"#).as_bytes());
            let start = bytes.len();
            bytes.put_slice(text.as_bytes());
            param_ranges = ParamRanges::locate(&kind, text, start);
            start..bytes.len()
        });
        bytes.put_slice(b"}");
        Self {
            bytes: bytes.freeze(),
            kind,
            body,
            param_ranges,
        }
    }
}

/// Shows the kind and length of the message, never its content.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.kind, self.bytes.len())
    }
}

impl ParseError {
    /// Builds the JSON-RPC error for such bytes, whose id is null.
    #[must_use]
    pub fn to_response(&self) -> Message {
        let code = match self {
            Self::NotUtf8 | Self::NotJson(_) => PARSE_ERROR,
            Self::Batch
            | Self::EmptyBatch
            | Self::LongBatch
            | Self::InitializeInBatch
            | Self::Invalid(_) => INVALID_REQUEST,
        };
        Message::error_response(None, code, &self.to_string(), None)
    }
}

/// The envelope, borrowed. `Some` means that the name is present, with any value.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn parse(text: &'a str) -> Result<Self, ParseError> {
        match text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .as_bytes()
            .first()
        {
            Some(b'{') => {
                let mut envelope = Self::default();
                members::each(text, |name, value| envelope.take(name, value))
                    .map_err(|error| not_an_envelope(&error))?;
                Ok(envelope)
            }
            first => Err(match json::read::<&RawValue>(text) {
                Err(error) => ParseError::NotJson(error.to_string()),
                Ok(_) if first == Some(&b'[') => ParseError::Batch,
                Ok(_) => ParseError::Invalid("it is not an object".into()),
            }),
        }
    }

    fn take(&mut self, name: &[u8], value: &'a RawValue) -> Result<(), &'static str> {
        let (place, twice) = match name {
            b"jsonrpc" => (&mut self.jsonrpc, "duplicate `jsonrpc`"),
            b"id" => (&mut self.id, "duplicate `id`"),
            b"method" => (&mut self.method, "duplicate `method`"),
            b"params" => (&mut self.params, "duplicate `params`"),
            b"result" => (&mut self.result, "duplicate `result`"),
            b"error" => (&mut self.error, "duplicate `error`"),
            _ => return Ok(()),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(twice),
        }
    }

    fn kind(&self) -> Result<Kind, ParseError> {
        let invalid = |what: &str| Err(ParseError::Invalid(what.into()));
        if self.jsonrpc.and_then(string).as_deref() != Some("2.0") {
            return invalid("`jsonrpc` is not \"2.0\"");
        }
        let answers = [self.result, self.error].into_iter().flatten().count();
        if self.method.is_some() && answers > 0 {
            return invalid("it has both `method` and an answer");
        }
        if let Some(method) = self.method {
            let Some(method) = string(method) else {
                return invalid("`method` is not a string");
            };
            let method = method.into();
            return match self.id.map(|id| RequestId::from_valid_json(id.get())) {
                Some(Some(id)) => Ok(Kind::Request { id, method }),
                Some(None) => invalid("`id` is neither a string nor a number"),
                None => Ok(Kind::Notification { method }),
            };
        }
        if answers == 0 {
            return invalid("it has neither `method` nor `result` nor `error`");
        }
        let is_error = self.failed();
        if is_error && !self.result.is_none_or(is_null) {
            return invalid("it has both `result` and `error`");
        }
        match self.id.map(|id| (id, RequestId::from_valid_json(id.get()))) {
            Some((_, Some(id))) => Ok(Kind::Response { id, is_error }),
            Some((raw, None)) if !is_null(raw) => invalid("`id` is neither a string nor a number"),
            Some(_) | None if is_error => Ok(Kind::ErrorWithoutId),
            Some(_) | None => invalid("its `result` has no `id`"),
        }
    }

    /// Returns true if this is an error. `"error": null` beside a result is how JSON-RPC 1.0 marks
    /// success.
    fn failed(&self) -> bool {
        match (self.result, self.error) {
            (Some(_), Some(error)) => !is_null(error),
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn body(&self, kind: &Kind) -> Option<&'a RawValue> {
        match kind {
            Kind::Request { .. } | Kind::Notification { .. } => self.params,
            Kind::Response {
                is_error: false, ..
            } => self.result,
            Kind::Response { is_error: true, .. } | Kind::ErrorWithoutId => self.error,
        }
    }
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

fn string(raw: &RawValue) -> Option<std::borrow::Cow<'_, str>> {
    let text = raw.get();
    let plain = text.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') {
        serde_json::from_str::<String>(text).ok().map(Into::into)
    } else {
        Some(plain.into())
    }
}

/// Converts a parse error. All members are read raw, so the error names at most members of the
/// envelope and no content.
fn not_an_envelope(error: &serde_json::Error) -> ParseError {
    if error.is_data() {
        ParseError::Invalid(error.to_string())
    } else {
        ParseError::NotJson(error.to_string())
    }
}

fn range_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests;
