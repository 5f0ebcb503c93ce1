//! HTTP responses that several endpoints share.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::api::Problem;
use futures_util::{Stream, StreamExt, stream};
use mcp::{Message, ParseError, RequestId, sse};

use super::response_router::Outgoing;
use crate::problem;
use crate::session::HostMessage;

pub(super) const JSON: (HeaderName, HeaderValue) = (
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
);

const EVENTS: [(HeaderName, HeaderValue); 3] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (mcp::header::ACCEL_BUFFERING, HeaderValue::from_static("no")),
];

/// Builds an event stream of messages.
pub(super) fn events(
    messages: impl Stream<Item = HostMessage> + Send + 'static,
    session: Option<HeaderValue>,
) -> Response {
    let frames = messages.flat_map(|HostMessage { message, .. }| {
        stream::iter(sse::parts(None, message.bytes())).map(Ok::<_, Infallible>)
    });
    let mut response = (EVENTS, Body::from_stream(frames)).into_response();
    add_session(&mut response, session);
    response
}

/// Returns all messages.
pub(super) fn receiver(from: Outgoing) -> impl Stream<Item = HostMessage> {
    stream::unfold(from, async |mut from| {
        from.recv().await.map(|message| (message, from))
    })
}

/// Returns the messages up to the answer.
pub(super) fn until_answered(from: Outgoing) -> impl Stream<Item = HostMessage> {
    stream::unfold(Some(from), async |from| {
        let mut from = from?;
        let message = from.recv().await?;
        let more = message.message.method().is_some();
        Some((message, more.then_some(from)))
    })
}

/// Adds the id of a session.
pub(super) fn add_session(response: &mut Response, session: Option<HeaderValue>) {
    if let Some(session) = session {
        response
            .headers_mut()
            .insert(mcp::header::SESSION_ID, session);
    }
}

/// Builds the 400 response to an invalid message.
pub(super) fn invalid(error: &ParseError) -> Response {
    let body = error.to_response().bytes().clone();
    (StatusCode::BAD_REQUEST, [JSON], body).into_response()
}

/// Builds the 404 response for a session that has ended.
pub(super) fn session_gone() -> Response {
    let error = Message::error_response(
        None,
        -32600,
        "this session has ended; hint: initialize again",
        None,
    );
    (StatusCode::NOT_FOUND, [JSON], error.bytes().clone()).into_response()
}

/// Builds the 400 response to a request whose id is in use.
pub(super) fn id_in_use(id: &RequestId) -> Response {
    let body = in_use(id).bytes().clone();
    (StatusCode::BAD_REQUEST, [JSON], body).into_response()
}

/// Returns the error response to a request whose id is in use.
pub(super) fn in_use(id: &RequestId) -> Message {
    let text = "a request with this id is still unanswered";
    Message::error_response(Some(id), -32600, text, None)
}

/// Builds the 404 response for an unknown server.
pub(super) fn no_server(name: &str, problem: &Problem) -> Response {
    let named = Problem {
        message: problem.sentence(),
        ..problem.clone()
    };
    let body = problem::answer(None, name, &named);
    (
        StatusCode::NOT_FOUND,
        [("content-type", "application/json")],
        body.bytes().clone(),
    )
        .into_response()
}
