//! HTTP+SSE (2024-11-05) for hosts: `/{server}/sse` and `/{server}/message`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use mcp::memory::Account;
use mcp::{Message, Parsed, sse};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::batch;
use super::http::{Shared, no_server};
use super::intake;
use super::streamable::session_id;
use crate::bridge_state::Listing;
use crate::session::{self, HostChannel, HostMessage, SessionKind};

/// How often ended streams are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The open streams, by session id.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Open>>);

#[derive(Debug)]
struct Open {
    server: String,
    to: mpsc::Sender<Message>,
    /// The memory of the host's messages.
    memory: Account,
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes ended streams until the bridge ends.
    pub(super) async fn sweep_expired(&self) {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.map().retain(|_, open| !open.to.is_closed());
        }
    }
}

/// Opens the stream. Its first event names the endpoint for messages.
pub(super) async fn open(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let server = match shared.bridge.server(&name) {
        Ok(server) => server,
        Err(problem) => return no_server(&name, &problem),
    };
    let id = session_id();
    let endpoint = format!("/{name}/message?sessionId={id}");
    let listing = Listing::Stream { transport: "sse" };
    let HostChannel { to, from, .. } =
        session::start(&shared.bridge, server, listing, SessionKind::Host);
    let memory = shared.bridge.from_hosts.account();
    let open = Open {
        server: name,
        to,
        memory,
    };
    shared.sse.map().insert(id, open);
    let first = sse::encode(Some("endpoint"), None, endpoint.as_bytes());
    let rest = stream::unfold(from, async |mut from: mpsc::Receiver<HostMessage>| {
        let HostMessage { message, .. } = from.recv().await?;
        Some((sse::parts(Some("message"), message.bytes()), from))
    });
    let rest = rest.flat_map(stream::iter);
    let frames = stream::iter([first]).chain(rest).map(Ok::<_, Infallible>);
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::from_stream(frames)).into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Address {
    #[serde(rename = "sessionId")]
    session_id: String,
}

/// Accepts one message of the host, or an array of them. The responses come on the stream.
pub(super) async fn message(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(address): Query<Address>,
    body: Body,
) -> Response {
    let found = {
        let map = shared.sse.map();
        let open = map
            .get(&address.session_id)
            .filter(|open| open.server == name);
        open.map(|open| (open.to.clone(), open.memory.clone()))
    };
    let Some((to, memory)) = found else {
        return (
            StatusCode::NOT_FOUND,
            "this stream has ended; hint: open /sse again\n",
        )
            .into_response();
    };
    let body = match intake::read(body, &name, &memory).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    match Parsed::from_host(body) {
        Ok(Parsed::Message(message)) => match to.send(message).await {
            Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        },
        Ok(Parsed::Batch(messages)) => {
            let mut invalid = Vec::new();
            for element in messages {
                match element {
                    Ok(message) => {
                        if to.send(message).await.is_err() {
                            return StatusCode::NOT_FOUND.into_response();
                        }
                    }
                    Err(error) => invalid.push(error.to_response()),
                }
            }
            batch::refusal(&invalid)
                .unwrap_or_else(|| (StatusCode::ACCEPTED, "Accepted").into_response())
        }
        Err(error) => {
            let body = error.to_response().bytes().clone();
            (
                StatusCode::BAD_REQUEST,
                [(header::CONTENT_TYPE, "application/json")],
                body,
            )
                .into_response()
        }
    }
}
