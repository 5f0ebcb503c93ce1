//! Streamable HTTP for hosts without a session: each message gets a short session of its own.
//!
//! Owns: those sessions, and suspending the ones that the host has to come back to, because their
//! server is of the other era and waits in the middle of a request. Does not own: sessions with an
//! id (`streamable`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use mcp::header_validation::{self, HEADER_MISMATCH};
use mcp::memory::Budget;
use mcp::message::METHOD_NOT_FOUND;
use mcp::upstream::INPUT_TIMEOUT;
use mcp::{Kind, Message, ToolHeaders, mrtr};
use tokio::time::Instant;

use super::response::{JSON, events, session_gone};
use super::sessions::SWEEP_INTERVAL;
use crate::session::{HostChannel, HostMessage};
use crate::session_registry::Listing;

/// The maximum of suspended sessions. One more ends the oldest.
const MAX_SUSPENDED: usize = 256;

/// The sessions that hosts come back to, by the state that the host received.
#[derive(Debug, Default)]
pub(super) struct SuspendedSessions(Mutex<HashMap<String, SuspendedSession>>);

#[derive(Debug)]
struct SuspendedSession {
    server: String,
    channel: HostChannel,
    until: Instant,
}

impl SuspendedSessions {
    fn map(&self) -> MutexGuard<'_, HashMap<String, SuspendedSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Suspends the session if `answer` asks the host to come back. Ends it otherwise.
    fn suspend(&self, server: &str, answer: &Message, channel: HostChannel) {
        let Some(state) = mrtr::kept_state(answer) else {
            return;
        };
        let suspended = SuspendedSession {
            server: server.to_owned(),
            channel,
            until: Instant::now() + INPUT_TIMEOUT,
        };
        let replaced = {
            let mut map = self.map();
            let before = map.insert(state, suspended);
            [before, evict_oldest(&mut map)]
        };
        // Its messages may be long: their memory is freed without the lock.
        drop(replaced);
    }

    /// Returns the suspended session in which this request continues.
    pub(super) fn take(&self, server: &str, request: &Message) -> Option<HostChannel> {
        let state = mrtr::resumed_state(request)?;
        let mut map = self.map();
        let suspended = map.get(&state)?;
        let is_it = suspended.server == server && !suspended.channel.to.is_closed();
        is_it
            .then(|| map.remove(&state))
            .flatten()
            .map(|suspended| suspended.channel)
    }

    /// Ends the sessions to which no host came back, until the bridge ends.
    pub(super) async fn sweep_expired(&self, memory: &Budget) {
        loop {
            let begun = Instant::now();
            // Unread messages must not keep memory from other sessions.
            let is_short = tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => false,
                () = memory.overdue(begun) => true,
            };
            let now = Instant::now();
            let has_ended = |suspended: &SuspendedSession| {
                let is_full = is_short && suspended.channel.memory.is_over_floor();
                suspended.until <= now || suspended.channel.to.is_closed() || is_full
            };
            let ended: Vec<_> = {
                let mut map = self.map();
                map.extract_if(|_, suspended| has_ended(suspended))
                    .collect()
            };
            drop(ended);
        }
    }
}

/// Removes the oldest session if there are too many.
fn evict_oldest(map: &mut HashMap<String, SuspendedSession>) -> Option<SuspendedSession> {
    if map.len() <= MAX_SUSPENDED {
        return None;
    }
    let oldest = map.iter().min_by_key(|(_, suspended)| suspended.until);
    let state = oldest.map(|(state, _)| state.clone())?;
    map.remove(&state)
}

/// Returns how the session of this message is listed. The session of a subscription stays as long
/// as its host, and is the only sign of it.
pub(super) fn listing(message: &Message) -> Listing {
    match message.method() {
        Some("subscriptions/listen") => Listing::Stream { transport: "http" },
        Some(_) | None => Listing::Single,
    }
}

/// Handles a message without a session. When the host disconnects, the session ends with the
/// response, and so does the request at the server.
pub(super) async fn exchange(
    suspended: &Arc<SuspendedSessions>,
    server: String,
    mut channel: HostChannel,
    message: Message,
    modern: bool,
) -> Response {
    if !matches!(message.kind(), Kind::Request { .. }) {
        // Without a session it has no meaning.
        return StatusCode::ACCEPTED.into_response();
    }
    if channel.to.send(message.clone()).await.is_err() {
        return session_gone();
    }
    let Some(first) = channel.from.recv().await else {
        return session_gone();
    };
    if first.message.method().is_some() {
        let rest = until_answered(Arc::clone(suspended), server, channel);
        return events(stream::iter([first]).chain(rest), None);
    }
    let answer = first.message;
    let status = match modern {
        true => header_validation::status(&message, &answer),
        false => StatusCode::OK,
    };
    suspended.suspend(&server, &answer, channel);
    (status, [JSON], answer.bytes().clone()).into_response()
}

/// Returns the messages up to the answer. The session lasts as long.
fn until_answered(
    suspended: Arc<SuspendedSessions>,
    server: String,
    channel: HostChannel,
) -> impl Stream<Item = HostMessage> + Send + 'static {
    stream::unfold(Some((suspended, server, channel)), async |open| {
        let (suspended, server, mut channel) = open?;
        let outgoing = channel.from.recv().await?;
        if outgoing.message.method().is_some() {
            return Some((outgoing, Some((suspended, server, channel))));
        }
        suspended.suspend(&server, &outgoing.message, channel);
        Some((outgoing, None))
    })
}

/// Rejects a modern request whose headers and body disagree. The check is needed here because the
/// headers are not passed on, so the server could not make it.
pub(super) fn refusal(
    message: &Message,
    headers: &HeaderMap,
    tools: &ToolHeaders,
) -> Option<Response> {
    let Kind::Request { id, method } = message.kind() else {
        return None;
    };
    let (status, code, text) = match header_validation::mismatch(message, headers, tools) {
        Some(name) => (
            StatusCode::BAD_REQUEST,
            HEADER_MISMATCH,
            format!("the header {name} does not match the body"),
        ),
        // `initialize` belongs to the legacy era only.
        None if **method == *"initialize" => (
            StatusCode::NOT_FOUND,
            METHOD_NOT_FOUND,
            "this version has no initialize".to_owned(),
        ),
        None => return None,
    };
    let error = Message::error_response(Some(id), code, &text, None);
    Some((status, [JSON], error.bytes().clone()).into_response())
}
