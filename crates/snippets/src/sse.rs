//! The HTTP+SSE transport of MCP 2024-11-05, which the SDK no longer has.
//!
//! `GET /sse` opens a session: its first event, `endpoint`, names where to post, and every message
//! of the server follows as an event `message`. `POST /message?sessionId=…` hands over one message
//! of the client and is answered `202` at once. Messages go through the same handler as on `/mcp`.
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

/// How many messages may wait in each direction; a sender waits when they are not taken.
const WAITING_MESSAGES: usize = 16;

/// The two routes of this transport. Their requests must have passed the guard.
pub(crate) fn routes(server: Snippets, shutdown: CancellationToken) -> Router {
    let face = Arc::new(Face {
        server,
        shutdown,
        open: Mutex::default(),
    });
    Router::new()
        .route("/sse", get(open))
        .route("/message", post(message))
        .with_state(face)
}

struct Face {
    server: Snippets,
    shutdown: CancellationToken,
    open: Mutex<HashMap<Uuid, Session>>,
}

struct Session {
    user: User,
    to_server: mpsc::Sender<ClientJsonRpcMessage>,
}

impl Face {
    fn sessions(&self) -> MutexGuard<'_, HashMap<Uuid, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to send messages of this session, if it is open and belongs to `user`.
    fn session(&self, id: &str, user: &User) -> Option<mpsc::Sender<ClientJsonRpcMessage>> {
        let id = Uuid::try_parse(id).ok()?;
        let sessions = self.sessions();
        let session = sessions.get(&id).filter(|session| session.user == *user)?;
        Some(session.to_server.clone())
    }
}

async fn open(State(face): State<Arc<Face>>, Extension(user): Extension<User>) -> Response {
    let id = Uuid::new_v4();
    let (to_server, from_client) = mpsc::channel(WAITING_MESSAGES);
    let (to_client, from_server) = mpsc::channel(WAITING_MESSAGES);
    let ending = face.shutdown.child_token();
    face.sessions().insert(id, Session { user, to_server });
    tokio::spawn(converse(
        face.server.clone(),
        from_client,
        to_client,
        ending.clone(),
    ));
    let closer = Closer { face, id, ending };
    // Proxies that buffer would hold events back until the session ends.
    let unbuffered = [("x-accel-buffering", "no")];
    (
        unbuffered,
        Sse::new(events(closer, from_server)).keep_alive(KeepAlive::default()),
    )
        .into_response()
}

/// Runs the SDK's server over the session's two channels until either side ends.
async fn converse(
    server: Snippets,
    from_client: mpsc::Receiver<ClientJsonRpcMessage>,
    to_client: mpsc::Sender<ServerJsonRpcMessage>,
    ending: CancellationToken,
) {
    let transport = (PollSender::new(to_client), ReceiverStream::new(from_client));
    match serve_server_with_ct(server, transport, ending).await {
        Ok(running) => {
            let ended = running.waiting().await;
            tracing::debug!(?ended, "an SSE session ended");
        }
        Err(error) => tracing::debug!(%error, "an SSE session ended before its handshake"),
    }
}

fn events(
    closer: Closer,
    from_server: mpsc::Receiver<ServerJsonRpcMessage>,
) -> impl Stream<Item = Result<Event, axum::Error>> {
    let endpoint = Event::default()
        .event("endpoint")
        .data(format!("/message?sessionId={}", closer.id));
    let messages = ReceiverStream::new(from_server)
        .map(|message| Event::default().event("message").json_data(message));
    stream::iter([Ok(endpoint)])
        .chain(messages)
        .inspect(move |_| {
            // Held by the stream: the session closes when the client lets go of it.
            let _held = &closer;
        })
}

/// Closes the session when the event stream is dropped.
struct Closer {
    face: Arc<Face>,
    id: Uuid,
    ending: CancellationToken,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.face.sessions().remove(&self.id);
        self.ending.cancel();
    }
}

#[derive(Deserialize)]
struct MessageQuery {
    #[serde(rename = "sessionId", default)]
    session_id: String,
}

async fn message(
    State(face): State<Arc<Face>>,
    Extension(user): Extension<User>,
    Query(query): Query<MessageQuery>,
    request: Request,
) -> Result<impl IntoResponse, Unaccepted> {
    let to_server = face
        .session(&query.session_id, &user)
        .ok_or(Unaccepted::UnknownSession)?;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| Unaccepted::TooLarge)?;
    let message = serde_json::from_slice(&body).map_err(Unaccepted::NotMcp)?;
    to_server
        .send(with_parts(message, parts))
        .await
        .map_err(|_| Unaccepted::UnknownSession)?;
    Ok((StatusCode::ACCEPTED, "Accepted"))
}

/// Gives the handler the request's parts, as the SDK does on its own HTTP face.
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

/// Why a posted message was not taken.
#[derive(Debug, thiserror::Error)]
enum Unaccepted {
    /// Also for a session of somebody else: its existence is not told.
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

impl IntoResponse for Unaccepted {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotMcp(_) => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}
