//! Streamable HTTP for hosts: `/{server}/mcp`.
//!
//! Legacy hosts (2025-03-26 to 2025-11-25) get a session with an `Mcp-Session-Id`. Each message of
//! a modern host is handled without one (`stateless`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use mcp::{Kind, Message, ParseError, Parsed, header_validation};
use tokio::sync::mpsc;

use super::access::PeerOwner;
use super::response::{
    JSON, add_session, events, id_in_use, invalid, no_server, receiver, session_gone,
    until_answered,
};
use super::response_router::{Outgoing, ResponseRouter};
use super::sessions::{Session, session_id};
use super::shared::Shared;
use super::{batch, intake, stateless};
use crate::session::{self, HostChannel, HostMessage, SessionKind};
use crate::session_registry::Listing;

/// Handles one message of the host, or an array of them.
pub(super) async fn post(
    State(shared): State<Shared>,
    ConnectInfo(PeerOwner { opener, .. }): ConnectInfo<PeerOwner>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let session = headers.get(mcp::header::SESSION_ID);
    let session = match session.map(|id| shared.streamable.find(&name, id)) {
        Some(None) => return session_gone(),
        Some(Some(session)) => Some(session),
        None => None,
    };
    let memory = match &session {
        Some(session) => session.memory.clone(),
        None => shared.context.from_hosts.account(),
    };
    let body = match intake::read(body, &name, &memory).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let message = match Parsed::from_host(body) {
        Ok(Parsed::Message(message)) => message,
        Ok(Parsed::Batch(messages)) => {
            let Some(session) = session else {
                // Arrays need a session: without one each message is handled by itself, and the
                // headers of a modern request describe only one.
                return invalid(&ParseError::Batch);
            };
            return batch::exchange(
                &shared.context.background,
                &session.to,
                &session.responses,
                messages,
            )
            .await;
        }
        Err(error) => return invalid(&error),
    };
    if let Some(session) = session {
        return exchange(&session.to, &session.responses, message, None).await;
    }
    let server = match shared.context.config.server(&name) {
        Ok(server) => server,
        Err(problem) => return no_server(&name, &problem),
    };
    let modern = header_validation::is_modern(&message, &headers);
    if modern && let Some(refusal) = stateless::refusal(&message, &headers, server.learned.tools())
    {
        return refusal;
    }
    if modern && let Some(channel) = shared.suspended.take(&name, &message) {
        return stateless::exchange(&shared.suspended, name, channel, message, modern).await;
    }
    if modern || message.method() != Some("initialize") {
        let listing = stateless::listing(&message);
        let channel = session::start(&shared.context.session, server, listing, SessionKind::Host);
        return stateless::exchange(&shared.suspended, name, channel, message, modern).await;
    }
    let host = shared.context.sessions.presence();
    let listing = Listing::Persistent(host.clone());
    let HostChannel { to, from, .. } =
        session::start(&shared.context.session, server, listing, SessionKind::Host);
    let responses = Arc::new(ResponseRouter::new(host.clone()));
    let processes = shared.processes.clone();
    tokio::spawn(async move {
        if let Some(process) = processes.find(opener).await {
            host.set_process(process);
        }
    });
    let router = Arc::clone(&responses);
    shared
        .context
        .background
        .spawn(async move { router.route(from).await });
    let id = session_id();
    let session = Session::new(name, to.clone(), Arc::clone(&responses), memory);
    shared.streamable.insert(id.clone(), session);
    exchange(&to, &responses, message, HeaderValue::try_from(id).ok()).await
}

/// Opens the stream for messages that belong to no request.
pub(super) async fn get(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(id) = headers.get(mcp::header::SESSION_ID) else {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    };
    let Some(session) = shared.streamable.find(&name, id) else {
        return session_gone();
    };
    let (kept, from) = session.responses.listen();
    let kept = stream::iter(kept);
    events(kept.chain(receiver(from)), None)
}

/// Ends a session at the host's request.
pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = headers
        .get(mcp::header::SESSION_ID)
        .filter(|id| shared.streamable.find(&name, id).is_some());
    match found.and_then(|id| id.to_str().ok()) {
        Some(id) => {
            shared.streamable.remove(id);
            StatusCode::NO_CONTENT.into_response()
        }
        None => session_gone(),
    }
}

async fn exchange(
    to: &mpsc::Sender<Message>,
    responses: &ResponseRouter,
    message: Message,
    session: Option<HeaderValue>,
) -> Response {
    let id = match message.kind() {
        Kind::Request { id, .. } => id.clone(),
        Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => {
            let cancelled = message.cancels();
            responses.record_message();
            if to.send(message).await.is_err() {
                return session_gone();
            }
            if let Some(id) = cancelled {
                responses.close(&id);
            }
            return StatusCode::ACCEPTED.into_response();
        }
    };
    let Some(from) = responses.open(id.clone()) else {
        return id_in_use(&id);
    };
    if to.send(message).await.is_err() {
        return session_gone();
    }
    match first_of(from).await {
        Some(answer) => respond(answer, session),
        None if to.is_closed() => session_gone(),
        // The host has cancelled the request, and there will be no response.
        None => events(stream::empty(), None),
    }
}

/// How a request is answered.
enum PostResponse {
    Whole(Message),
    /// Other messages precede the answer, so it is a stream.
    Streamed(HostMessage, Outgoing),
}

/// Waits for the first message, which decides the kind of response. Returns `None` if there is
/// none.
async fn first_of(mut from: Outgoing) -> Option<PostResponse> {
    let first = from.recv().await?;
    Some(if first.message.method().is_none() {
        PostResponse::Whole(first.message)
    } else {
        PostResponse::Streamed(first, from)
    })
}

fn respond(answer: PostResponse, session: Option<HeaderValue>) -> Response {
    match answer {
        PostResponse::Whole(message) => {
            let mut response = ([JSON], message.bytes().clone()).into_response();
            add_session(&mut response, session);
            response
        }
        PostResponse::Streamed(first, from) => {
            let rest = until_answered(from);
            events(stream::iter([first]).chain(rest), session)
        }
    }
}
