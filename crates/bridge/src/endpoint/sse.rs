//! HTTP+SSE (2024-11-05) for hosts: `/{server}/sse` and `/{server}/message`.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use mcp::{Parsed, sse};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::batch;
use super::intake;
use super::response::no_server;
use super::sessions::session_id;
use super::shared::Shared;
use super::sse_streams::SseStream;
use crate::session::{self, HostChannel, HostMessage, SessionKind};
use crate::session_registry::Listing;

/// Opens the stream. Its first event names the endpoint for messages.
pub(super) async fn open(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    let server = match shared.context.config.server(&name) {
        Ok(server) => server,
        Err(problem) => return no_server(&name, &problem),
    };
    let id = session_id();
    let endpoint = format!("/{name}/message?sessionId={id}");
    let listing = Listing::Stream { transport: "sse" };
    let HostChannel { to, from, .. } =
        session::start(&shared.context.session, server, listing, SessionKind::Host);
    let memory = shared.context.from_hosts.account();
    let stream = SseStream {
        server: name,
        to,
        memory,
    };
    shared.sse.insert(id, stream);
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
    let found = shared.sse.find(&name, &address.session_id);
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
