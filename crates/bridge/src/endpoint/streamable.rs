//! Streamable HTTP for hosts: `/{server}/mcp`.
//!
//! Legacy hosts (2025-03-26 to 2025-11-25) get a session with an `Mcp-Session-Id`. Each message of
//! a modern host is handled without one (`stateless`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use mcp::memory::Account;
use mcp::{Kind, Message, ParseError, Parsed, RequestId, mirrored, sse};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::access::PeerOwner;
use super::http::{Shared, no_server};
use super::intake;
use super::response_router::{Outgoing, ResponseRouter};
use super::{batch, stateless};
use crate::bridge_state::Listing;
use crate::session::{self, HostChannel, HostMessage, SessionKind};

/// How long an unused session is kept, listed or not ([`Presence`](crate::bridge_state::Presence)).
/// A host that comes back later gets a 404 and initializes again, as the specification requires.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The maximum of sessions. One more ends the session that was unused for longest, so that a host
/// that opens a session for each call uses bounded memory.
const MAX_SESSIONS: usize = 1024;

/// How often unused sessions are removed.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

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

/// The sessions of legacy hosts, by id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

#[derive(Debug)]
struct Session {
    server: String,
    to: mpsc::Sender<Message>,
    responses: Arc<ResponseRouter>,
    /// The memory of the host's messages.
    memory: Account,
    used: Mutex<Instant>,
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, server: &str, id: &HeaderValue) -> Option<Arc<Session>> {
        let found = self
            .map()
            .get(id.to_str().ok()?)
            .filter(|session| session.server == server)
            .cloned()?;
        *found.used() = Instant::now();
        (!found.to.is_closed()).then_some(found)
    }

    fn insert(&self, id: String, session: Session) {
        let mut map = self.map();
        if map.len() >= MAX_SESSIONS {
            let unused = map
                .iter()
                .filter(|(_, session)| !session.responses.in_use());
            let longest = unused.min_by_key(|(_, session)| session.used_at());
            if let Some(id) = longest.map(|(id, _)| id.clone()) {
                map.remove(&id);
            }
        }
        map.insert(id, Arc::new(session));
    }

    /// Ends the sessions that their hosts have left, until the bridge ends.
    pub(super) async fn sweep_expired(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.map().retain(|_, session| session.is_kept());
        }
    }
}

impl Session {
    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used_at(&self) -> Instant {
        *self.used()
    }

    fn is_kept(&self) -> bool {
        let mut used = self.used();
        if self.responses.in_use() {
            *used = Instant::now();
        }
        !self.to.is_closed() && used.elapsed() < SESSION_TIMEOUT
    }
}

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
        None => shared.bridge.from_hosts.account(),
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
            return batch::exchange(&shared.bridge, &session.to, &session.responses, messages)
                .await;
        }
        Err(error) => return invalid(&error),
    };
    if let Some(session) = session {
        return exchange(&session.to, &session.responses, message, None).await;
    }
    let server = match shared.bridge.server(&name) {
        Ok(server) => server,
        Err(problem) => return no_server(&name, &problem),
    };
    let modern = mirrored::is_modern(&message, &headers);
    if modern && let Some(refusal) = stateless::refusal(&message, &headers, server.learned.tools())
    {
        return refusal;
    }
    if modern && let Some(channel) = shared.suspended.take(&name, &message) {
        return stateless::exchange(&shared.suspended, name, channel, message, modern).await;
    }
    if modern || message.method() != Some("initialize") {
        let listing = stateless::listing(&message);
        let channel = session::start(&shared.bridge, server, listing, SessionKind::Host);
        return stateless::exchange(&shared.suspended, name, channel, message, modern).await;
    }
    let host = shared.bridge.presence();
    let listing = Listing::Persistent(host.clone());
    let HostChannel { to, from, .. } =
        session::start(&shared.bridge, server, listing, SessionKind::Host);
    let responses = Arc::new(ResponseRouter::new(host.clone()));
    let processes = shared.processes.clone();
    tokio::spawn(async move {
        if let Some(process) = processes.find(opener).await {
            host.set_process(process);
        }
    });
    let router = Arc::clone(&responses);
    shared.bridge.spawn(async move { router.route(from).await });
    let id = session_id();
    let session = Session {
        server: name,
        to: to.clone(),
        responses: Arc::clone(&responses),
        memory,
        used: Mutex::new(Instant::now()),
    };
    shared.streamable.insert(id.clone(), session);
    exchange(&to, &responses, message, HeaderValue::try_from(id).ok()).await
}

fn invalid(error: &ParseError) -> Response {
    let body = error.to_response().bytes().clone();
    (StatusCode::BAD_REQUEST, [JSON], body).into_response()
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
            shared.streamable.map().remove(id);
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

/// Returns the messages up to the answer.
pub(super) fn until_answered(from: Outgoing) -> impl futures_util::Stream<Item = HostMessage> {
    stream::unfold(Some(from), async |from| {
        let mut from = from?;
        let message = from.recv().await?;
        let more = message.message.method().is_some();
        Some((message, more.then_some(from)))
    })
}

fn receiver(from: Outgoing) -> impl futures_util::Stream<Item = HostMessage> {
    stream::unfold(from, async |mut from| {
        from.recv().await.map(|message| (message, from))
    })
}

pub(super) fn events(
    messages: impl futures_util::Stream<Item = HostMessage> + Send + 'static,
    session: Option<HeaderValue>,
) -> Response {
    let frames = messages.flat_map(|HostMessage { message, .. }| {
        stream::iter(sse::parts(None, message.bytes())).map(Ok::<_, Infallible>)
    });
    let mut response = (EVENTS, Body::from_stream(frames)).into_response();
    add_session(&mut response, session);
    response
}

fn add_session(response: &mut Response, session: Option<HeaderValue>) {
    if let Some(session) = session {
        response
            .headers_mut()
            .insert(mcp::header::SESSION_ID, session);
    }
}

pub(super) fn session_gone() -> Response {
    let error = Message::error_response(
        None,
        -32600,
        "this session has ended; hint: initialize again",
        None,
    );
    (StatusCode::NOT_FOUND, [JSON], error.bytes().clone()).into_response()
}

fn id_in_use(id: &RequestId) -> Response {
    let body = in_use(id).bytes().clone();
    (StatusCode::BAD_REQUEST, [JSON], body).into_response()
}

/// Returns the error response to a request whose id is in use.
pub(super) fn in_use(id: &RequestId) -> Message {
    let text = "a request with this id is still unanswered";
    Message::error_response(Some(id), -32600, text, None)
}

/// Returns an unguessable id: twice 122 random bits.
pub(super) fn session_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::HeaderValue;
    use mcp::memory::Budget;
    use mcp::{Message, RequestId};
    use model::Clock;
    use tokio::sync::{mpsc, watch};
    use tokio::time::Instant;

    use super::{MAX_SESSIONS, SESSION_TIMEOUT, SWEEP_INTERVAL, Session, Sessions};
    use crate::bridge_state::Presence;
    use crate::endpoint::response_router::ResponseRouter;

    fn responses() -> Arc<ResponseRouter> {
        let host = Presence::new(Clock::system(), watch::Sender::new(()));
        Arc::new(ResponseRouter::new(host))
    }

    /// Begins a session. Returns its id and the receiver of its messages.
    fn begin(
        sessions: &Sessions,
        responses: Arc<ResponseRouter>,
    ) -> (String, mpsc::Receiver<Message>) {
        let (to, host) = mpsc::channel(1);
        let session = Session {
            server: "one".to_owned(),
            to,
            responses,
            memory: Budget::default().account(),
            used: Mutex::new(Instant::now()),
        };
        let id = super::session_id();
        sessions.insert(id.clone(), session);
        (id, host)
    }

    #[tokio::test(start_paused = true)]
    async fn session_unused_for_longest_ends_for_one_too_many() {
        let sessions = Sessions::default();
        let open = responses();
        let _stream = open.listen();
        let (_, mut open) = begin(&sessions, open);
        let (first, mut first_host) = begin(&sessions, responses());
        let (_, mut second_host) = begin(&sessions, responses());
        let mut others = Vec::new();
        while others.len() + 3 < MAX_SESSIONS {
            others.push(begin(&sessions, responses()));
        }
        tokio::time::advance(SWEEP_INTERVAL).await;
        let first = HeaderValue::try_from(first).unwrap();
        assert!(sessions.find("one", &first).is_some());
        tokio::time::advance(SWEEP_INTERVAL).await;
        for (id, _) in &others {
            let id = HeaderValue::try_from(id).unwrap();
            assert!(sessions.find("one", &id).is_some());
        }
        let _one_more = begin(&sessions, responses());
        assert!(second_host.recv().await.is_none(), "unused for longest");
        let _another = begin(&sessions, responses());
        assert!(first_host.recv().await.is_none());
        assert!(open.try_recv().is_err() && !open.is_closed(), "in use");
    }

    #[tokio::test(start_paused = true)]
    async fn unused_session_expires() {
        let sessions = Arc::new(Sessions::default());
        let (left, open) = (responses(), responses());
        // One host has dropped a response, the other has a stream open.
        drop(left.open(RequestId::number(1)));
        let _stream = open.listen();
        let [mut left, mut open] = [left, open].map(|responses| begin(&sessions, responses).1);
        let swept = Arc::clone(&sessions);
        tokio::spawn(async move { swept.sweep_expired().await });
        let begun = Instant::now();
        assert!(left.recv().await.is_none());
        assert!(
            begun.elapsed() >= SESSION_TIMEOUT
                && begun.elapsed() <= SESSION_TIMEOUT + SWEEP_INTERVAL
        );
        let ended = tokio::time::timeout(SESSION_TIMEOUT * 3, open.recv()).await;
        assert!(ended.is_err(), "its host has a stream open");
    }
}
