//! Reads messages of hosts into counted memory.
//!
//! Owns: reading lines and bodies, and rejecting messages for which no memory becomes free in time.
//! Does not own: their content.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use control::api::{Problem, ProblemKind};
use control::hello::MAX_MESSAGE;
use control::lines::{Lines, Progress};
use futures_util::StreamExt;
use mcp::memory::{Account, MAX_UNCOUNTED, Reservation};
use mcp::message::INVALID_REQUEST;
use mcp::{LongKind, LongMessage, Message};
use tokio::io::AsyncRead;
use tokio::time::{Instant, timeout_at};

use super::response::JSON;
use crate::problem;

/// How long a message of a host waits for memory. It blocks the host's other messages meanwhile.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of reading.
#[derive(Debug)]
pub(super) enum Received {
    Message(Bytes),
    /// A message without memory. Holds the error response if the message is a request.
    Refused(Option<Message>),
    End,
}

/// Reads the lines of a shim.
pub(super) struct Intake<R> {
    lines: Lines<R>,
    server: String,
    memory: Account,
    line: Line,
}

/// The state of the next line.
enum Line {
    Coming(Reservation),
    /// A complete line that waits for memory.
    Waiting(Bytes, Reservation, Instant),
    /// A line that is skipped.
    Refused(LongMessage),
}

impl<R: AsyncRead + Unpin> Intake<R> {
    pub(super) fn new(lines: Lines<R>, server: String, memory: Account) -> Self {
        let line = Line::Coming(memory.reserve());
        Self {
            lines,
            server,
            memory,
            line,
        }
    }

    /// Returns the next line. Cancel-safe: data that was read is kept for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Received> {
        loop {
            match &mut self.line {
                Line::Coming(reservation) => match self.lines.advance().await? {
                    Progress::Line(line) if line.len() <= MAX_UNCOUNTED => {
                        return Ok(Received::Message(line));
                    }
                    Progress::Line(line) => {
                        let reservation = std::mem::replace(reservation, self.memory.reserve());
                        let until = Instant::now() + MEMORY_TIMEOUT;
                        self.line = Line::Waiting(line, reservation, until);
                    }
                    Progress::Partial(length) => {
                        let until = Instant::now() + MEMORY_TIMEOUT;
                        if timeout_at(until, reservation.grow(length)).await.is_err() {
                            self.line = Line::Refused(LongMessage::default());
                        }
                    }
                    Progress::End => return Ok(Received::End),
                },
                Line::Waiting(line, reservation, until) => {
                    let is_granted = timeout_at(*until, reservation.grow(line.len())).await;
                    let next = Line::Coming(self.memory.reserve());
                    if let Line::Waiting(line, reservation, _) =
                        std::mem::replace(&mut self.line, next)
                    {
                        return Ok(match is_granted {
                            Ok(()) => Received::Message(reservation.own(line)),
                            Err(_) => {
                                let mut long = LongMessage::default();
                                long.read(&line);
                                Received::Refused(refusal(long, &self.server))
                            }
                        });
                    }
                }
                Line::Refused(long) => {
                    let part = self.lines.skip().await?;
                    long.read(&part.bytes);
                    if part.is_last {
                        let long = std::mem::take(long);
                        self.line = Line::Coming(self.memory.reserve());
                        return Ok(Received::Refused(refusal(long, &self.server)));
                    }
                }
            }
        }
    }
}

/// Reads the body of a request.
///
/// # Errors
/// Returns the error response if the body cannot be read.
pub(super) async fn read(body: Body, server: &str, memory: &Account) -> Result<Bytes, Response> {
    let mut whole = Vec::new();
    let mut reservation = memory.reserve();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return Err(StatusCode::BAD_REQUEST.into_response());
        };
        let length = whole.len() + chunk.len();
        if length > MAX_MESSAGE {
            return Err(too_long());
        }
        let until = Instant::now() + MEMORY_TIMEOUT;
        if timeout_at(until, reservation.grow(length)).await.is_err() {
            let mut long = LongMessage::default();
            long.read(&whole);
            long.read(&chunk);
            drop((whole, reservation));
            while let Some(Ok(chunk)) = chunks.next().await {
                long.read(&chunk);
            }
            return Err(response(refusal(long, server)));
        }
        whole.extend_from_slice(&chunk);
    }
    whole.shrink_to_fit();
    Ok(reservation.own(whole.into()))
}

/// Returns the error response to a skipped message. Returns `None` if it is not a request.
fn refusal(long: LongMessage, server: &str) -> Option<Message> {
    tracing::warn!(
        server,
        "a message of a host was refused: there is no memory for it"
    );
    let LongKind::Request(id) = long.kind() else {
        return None;
    };
    let text = "the memory for long messages is in use by requests that are not answered yet";
    let problem = Problem::new(ProblemKind::InUse, text)
        .with_hint("wait for their answers or cancel them, then try again; nothing was sent");
    Some(problem::host_answer(Some(&id), server, &problem))
}

fn response(answer: Option<Message>) -> Response {
    match answer {
        Some(answer) => ([JSON], answer.bytes().clone()).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn too_long() -> Response {
    let text = format!("a message of more than {MAX_MESSAGE} bytes; hint: send less at once");
    let error = Message::error_response(None, INVALID_REQUEST, &text, None);
    (StatusCode::PAYLOAD_TOO_LARGE, [JSON], error.bytes().clone()).into_response()
}

#[cfg(test)]
mod tests;
