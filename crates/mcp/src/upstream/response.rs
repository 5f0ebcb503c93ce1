//! The meaning of an HTTP response.
//!
//! Owns: status, content type and body of one response, and which [`UpstreamError`] they mean. Does
//! not own: which request a message answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, Response, StatusCode, Uri};
use hyper::body::Body;
use model::excerpt;

use super::client::SentSecrets;
use super::idle::WatchedBody;
use super::stream::{EventStream, StreamPosition, Truncated, drain, next_chunk};
use super::{Generation, UpstreamError};
use crate::memory::Account;
use crate::message::METHOD_NOT_FOUND;
use crate::{Batch, Message, Parsed, RequestId};

/// How much of an error response's body is read, in bytes. A timeout limits it as well.
const MAX_ERROR_BODY: usize = 1 << 20;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a body that is not MCP is shown, in characters.
const MAX_SHOWN: usize = 80;
/// How much of an error response's body is searched for a TLS error, in bytes.
const MAX_SEARCHED: usize = 2048;

/// The body of a response with a 2xx status.
pub(super) enum ResponseBody {
    /// One message.
    Message(Message),
    /// Several messages in one array.
    Batch(Batch),
    /// An event stream.
    Events(Box<EventStream>),
    /// No content, which accepts a notification or a response.
    Nothing,
}

/// What the meaning of an error status depends on.
#[derive(Clone, Copy)]
pub(super) struct RequestContext<'a> {
    /// The id, if the message was a request.
    pub(super) id: Option<&'a RequestId>,
    /// The legacy session that the request named, if any.
    pub(super) session: Option<Generation>,
}

/// Reads a response. A JSON-RPC error that answers the request is a message, not an error.
pub(super) async fn read(
    response: Response<WatchedBody>,
    context: RequestContext<'_>,
    limit: usize,
    memory: &Account,
) -> Result<ResponseBody, UpstreamError> {
    if !response.status().is_success() {
        return refusal(response, context, memory)
            .await
            .map(ResponseBody::Message);
    }
    let status = response.status().as_u16();
    let kind = content_type(response.headers());
    let mut body = response.into_body();
    if kind == "text/event-stream" {
        let stream = EventStream::new(body, limit, StreamPosition::default(), memory.clone());
        return Ok(ResponseBody::Events(Box::new(stream)));
    }
    if context.id.is_none() {
        drain(&mut body).await;
        return Ok(ResponseBody::Nothing);
    }
    if !kind.is_empty() && !is_json(&kind) {
        return Err(not_mcp(status, &kind, body, memory).await);
    }
    let bytes = read_body(&mut body, limit, memory).await;
    let bytes = bytes.map_err(|error| match error {
        BodyError::TooLong => UpstreamError::NotMcp {
            status,
            what: format!("an answer of more than {limit} bytes"),
        },
        BodyError::Truncated => UpstreamError::StreamEnded,
    })?;
    if bytes.is_empty() {
        return Ok(ResponseBody::Nothing);
    }
    let not_mcp = |error| UpstreamError::NotMcp {
        status,
        what: format!(
            "{}, but {error}",
            if kind.is_empty() { "no type" } else { &kind }
        ),
    };
    match Parsed::from_server(bytes).map_err(not_mcp)? {
        Parsed::Message(message) => Ok(ResponseBody::Message(message)),
        Parsed::Batch(batch) => Ok(ResponseBody::Batch(batch)),
    }
}

/// Reads the response to a GET request for a stream. Returns `None` if it is not an event stream.
pub(super) async fn stream(
    response: Response<WatchedBody>,
    context: RequestContext<'_>,
    limit: usize,
    position: StreamPosition,
    memory: &Account,
) -> Result<Option<EventStream>, UpstreamError> {
    if !response.status().is_success() {
        return refusal(response, context, memory).await.map(|_| None);
    }
    let is_stream = content_type(response.headers()) == "text/event-stream";
    Ok(is_stream.then(|| EventStream::new(response.into_body(), limit, position, memory.clone())))
}

async fn not_mcp(
    status: u16,
    kind: &str,
    mut body: WatchedBody,
    memory: &Account,
) -> UpstreamError {
    let begin = error_body(&mut body, memory).await;
    let what = format!("{kind}: {}", printable(&begin));
    UpstreamError::NotMcp { status, what }
}

/// Reads an error status. Returns the JSON-RPC error that answers the request, or what the status
/// means.
async fn refusal(
    response: Response<WatchedBody>,
    context: RequestContext<'_>,
    memory: &Account,
) -> Result<Message, UpstreamError> {
    let (head, mut body) = response.into_parts();
    let challenge = joined(&head.headers, WWW_AUTHENTICATE);
    let text = error_body(&mut body, memory).await;
    if head.status == StatusCode::BAD_REQUEST && wants_tls(&text) {
        return Err(UpstreamError::NotMcp {
            status: head.status.as_u16(),
            what: "the server speaks TLS on that port; hint: write https:// in its URL".to_owned(),
        });
    }
    let words = || words(&head, &text, challenge.as_deref());
    let message = Message::parse(text.clone()).ok();
    let (answer, message) = match message {
        Some(message) if context.id.is_some() && message.id() == context.id => {
            (Some(message), None)
        }
        other => (None, other),
    };
    match (head.status, answer, context.session) {
        (StatusCode::UNAUTHORIZED, ..) => {
            let words = words();
            Err(UpstreamError::Unauthorized { challenge, words })
        }
        (StatusCode::FORBIDDEN, ..) if challenge.is_some() => {
            let words = words();
            Err(UpstreamError::Forbidden { challenge, words })
        }
        (StatusCode::NOT_FOUND, answer, Some(generation)) if !is_unknown_method(&answer) => {
            Err(UpstreamError::SessionGone { generation })
        }
        (_, Some(answer), _) => Ok(answer),
        (StatusCode::BAD_REQUEST, None, Some(generation)) if mentions_session(&message) => {
            Err(UpstreamError::SessionGone { generation })
        }
        (StatusCode::FORBIDDEN, None, _) => {
            let words = words();
            Err(UpstreamError::Forbidden { challenge, words })
        }
        (status, None, _) if status.is_redirection() => Err(redirect(status, &head.headers)),
        (status, None, _) => Err(UpstreamError::Rejected {
            status: status.as_u16(),
            body: message.filter(|message| message.error().is_some()),
        }),
    }
}

/// Returns true if the text is the error of a TLS port that got plain HTTP, as nginx, Go, Apache or
/// Tomcat word it.
fn wants_tls(text: &[u8]) -> bool {
    let begin = &text[..text.len().min(MAX_SEARCHED)];
    let words = String::from_utf8_lossy(begin).to_ascii_lowercase();
    [
        "plain http request was sent to https port",
        "client sent an http request to an https server",
        "speaking plain http to an ssl-enabled server port",
        "combination of host and port requires tls",
    ]
    .iter()
    .any(|known| words.contains(known))
}

/// Returns what the server says about the error, in the body or else in the challenge.
fn words(head: &Parts, body: &Bytes, challenge: Option<&str>) -> Option<String> {
    let sent = head.extensions.get::<SentSecrets>();
    let secrets: Vec<_> = sent.into_iter().flat_map(SentSecrets::texts).collect();
    excerpt(body, &secrets).or_else(|| excerpt(challenge?.as_bytes(), &secrets))
}

/// Returns true for the one use of 404 in a session that does not mean that the session is gone.
fn is_unknown_method(answer: &Option<Message>) -> bool {
    answer.as_ref().and_then(Message::error_code) == Some(METHOD_NOT_FOUND)
}

/// Returns true if the error mentions the session. Servers that follow the SDKs' examples respond
/// with 400 where the specification has 404, and only the text of the error, which names no
/// request, says why.
fn mentions_session(message: &Option<Message>) -> bool {
    let error = message.as_ref().and_then(Message::error);
    error.is_some_and(|error| error.get().to_ascii_lowercase().contains("session"))
}

/// Shows only the host and path of the target, because the query may hold secrets.
fn redirect(status: StatusCode, headers: &HeaderMap) -> UpstreamError {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location
        .and_then(|text| text.parse::<Uri>().ok())
        .map_or_else(
            || "elsewhere".to_owned(),
            |uri| match uri.authority() {
                Some(authority) => format!("{}{}", authority.host(), uri.path()),
                None => uri.path().to_owned(),
            },
        );
    UpstreamError::NotMcp {
        status: status.as_u16(),
        what: format!("a redirect to {target}; hint: put the final address into the settings"),
    }
}

enum BodyError {
    TooLong,
    Truncated,
}

/// Reads a body to its end into its own memory. A slice of a larger read would keep all of that
/// allocated.
async fn read_body(
    body: &mut WatchedBody,
    limit: usize,
    memory: &Account,
) -> Result<Bytes, BodyError> {
    let mut whole = Vec::new();
    let mut reservation = memory.reserve();
    loop {
        let chunk = match next_chunk(body, &reservation).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(Truncated) => return Err(BodyError::Truncated),
        };
        let length = whole.len() + chunk.len();
        if length > limit {
            return Err(BodyError::TooLong);
        }
        reservation.grow(length).await;
        if whole.is_empty() {
            let remaining = usize::try_from(body.size_hint().lower()).unwrap_or(0);
            whole.reserve_exact(chunk.len() + remaining.min(limit));
        }
        whole.extend_from_slice(&chunk);
    }
    whole.shrink_to_fit();
    Ok(reservation.own(whole.into()))
}

/// Reads as much of an error response's body as is needed to explain it.
async fn error_body(body: &mut WatchedBody, memory: &Account) -> Bytes {
    let reading = tokio::time::timeout(ERROR_BODY_TIMEOUT, read_body(body, MAX_ERROR_BODY, memory));
    match reading.await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(BodyError::TooLong | BodyError::Truncated)) | Err(_) => Bytes::new(),
    }
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_SHOWN)]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_SHOWN)
        .collect()
}

/// Returns the content type without its parameters, in lower case.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let texts: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
