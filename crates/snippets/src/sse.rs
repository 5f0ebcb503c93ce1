//! The HTTP+SSE transport of MCP 2024-11-05, which the SDK no longer has.
//!
//! `GET /sse` opens a session. Its first event, `endpoint`, names the URL for POST requests. Each
//! server message follows as an event `message`. `POST /message?sessionId=…` sends one client
//! message and returns `202` immediately. The same handler as on `/mcp` processes the messages.
//!
//! A session belongs to the user who opened it and ends with its event stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::{Stream, StreamExt as _, stream};
use http::StatusCode;
use http::request::Parts;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions as _, ServerJsonRpcMessage};
use rmcp::service::serve_server_with_ct;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, PollSender};
use uuid::Uuid;

use crate::MAX_BODY_BYTES;
use crate::access::User;
use crate::tools::Snippets;

/// How many messages may be queued in each direction. If the queue is full, the sender waits.
const CHANNEL_CAPACITY: usize = 16;

/// Returns the two routes of this transport. Their requests must have passed the access check.
pub(crate) fn routes(server: Snippets, shutdown: CancellationToken) -> Router {
    let state = Arc::new(SseState {
        server,
        shutdown,
        sessions: Mutex::default(),
    });
    Router::new()
        .route("/sse", get(open_session))
        .route("/message", post(post_message))
        .with_state(state)
}

struct SseState {
    server: Snippets,
    shutdown: CancellationToken,
    sessions: Mutex<HashMap<Uuid, Session>>,
}

struct Session {
    user: User,
    to_server: mpsc::Sender<ClientJsonRpcMessage>,
}

impl SseState {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the channel for messages of this session. Returns `None` if the session is not open
    /// or belongs to another user.
    fn session(&self, id: &str, user: &User) -> Option<mpsc::Sender<ClientJsonRpcMessage>> {
        let id = Uuid::try_parse(id).ok()?;
        let sessions = self.lock();
        let session = sessions.get(&id).filter(|session| session.user == *user)?;
        Some(session.to_server.clone())
    }
}

async fn open_session(
    State(state): State<Arc<SseState>>,
    Extension(user): Extension<User>,
) -> Response {
    let id = Uuid::new_v4();
    let (to_server, from_client) = mpsc::channel(CHANNEL_CAPACITY);
    let (to_client, from_server) = mpsc::channel(CHANNEL_CAPACITY);
    let cancellation = state.shutdown.child_token();
    state.lock().insert(id, Session { user, to_server });
    tokio::spawn(serve_session(
        state.server.clone(),
        from_client,
        to_client,
        cancellation.clone(),
    ));
    let guard = SessionGuard {
        state,
        id,
        cancellation,
    };
    // Proxies that buffer would hold events back until the session ends.
    let unbuffered = [("x-accel-buffering", "no")];
    (
        unbuffered,
        Sse::new(events(guard, from_server)).keep_alive(KeepAlive::default()),
    )
        .into_response()
}

/// Runs the SDK's server over the session's two channels until either side ends.
async fn serve_session(
    server: Snippets,
    from_client: mpsc::Receiver<ClientJsonRpcMessage>,
    to_client: mpsc::Sender<ServerJsonRpcMessage>,
    cancellation: CancellationToken,
) {
    let transport = (PollSender::new(to_client), ReceiverStream::new(from_client));
    match serve_server_with_ct(server, transport, cancellation).await {
        Ok(running) => {
            let ended = running.waiting().await;
            tracing::debug!(?ended, "an SSE session ended");
        }
        Err(error) => tracing::debug!(%error, "an SSE session ended before its handshake"),
    }
}

fn events(
    guard: SessionGuard,
    from_server: mpsc::Receiver<ServerJsonRpcMessage>,
) -> impl Stream<Item = Result<Event, axum::Error>> {
    let endpoint = Event::default()
        .event("endpoint")
        .data(format!("/message?sessionId={}", guard.id));
    let messages = ReceiverStream::new(from_server)
        .map(|message| Event::default().event("message").json_data(message));
    stream::iter([Ok(endpoint)])
        .chain(messages)
        .inspect(move |_| {
            // The stream owns the guard: the session closes when the client drops the stream.
            let _held = &guard;
        })
}

/// Closes the session on drop.
struct SessionGuard {
    state: Arc<SseState>,
    id: Uuid,
    cancellation: CancellationToken,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.state.lock().remove(&self.id);
        self.cancellation.cancel();
    }
}

#[derive(Deserialize)]
struct MessageQuery {
    #[serde(rename = "sessionId", default)]
    session_id: String,
}

async fn post_message(
    State(state): State<Arc<SseState>>,
    Extension(user): Extension<User>,
    Query(query): Query<MessageQuery>,
    request: Request,
) -> Result<impl IntoResponse, MessageError> {
    let to_server = state
        .session(&query.session_id, &user)
        .ok_or(MessageError::UnknownSession)?;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| MessageError::TooLarge)?;
    let message = serde_json::from_slice(&body).map_err(MessageError::NotMcp)?;
    to_server
        .send(with_parts(message, parts))
        .await
        .map_err(|_| MessageError::UnknownSession)?;
    Ok((StatusCode::ACCEPTED, "Accepted"))
}

/// Attaches the request's parts for the handler, as the SDK does on its own HTTP transport.
fn with_parts(mut message: ClientJsonRpcMessage, parts: Parts) -> ClientJsonRpcMessage {
    match &mut message {
        ClientJsonRpcMessage::Request(request) => {
            request.request.extensions_mut().insert(parts);
        }
        ClientJsonRpcMessage::Notification(notification) => {
            notification.notification.extensions_mut().insert(parts);
        }
        ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
    }
    message
}

/// Why a posted message was rejected.
#[derive(Debug, thiserror::Error)]
enum MessageError {
    /// Also returned for a session of another user, so that its existence is not revealed.
    #[error(
        "this session is not open; hint: open a new one with GET /sse and post to the endpoint it names"
    )]
    UnknownSession,
    #[error(
        "the message could not be read or is over {MAX_BODY_BYTES} bytes; hint: send less at once"
    )]
    TooLarge,
    #[error("the body is not one MCP message: {0}; hint: send one JSON-RPC 2.0 object")]
    NotMcp(serde_json::Error),
}

impl IntoResponse for MessageError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotMcp(_) => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}
