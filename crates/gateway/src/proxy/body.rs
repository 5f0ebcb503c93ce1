//! Response bodies during forwarding: without trailers, which no check has seen, and with a comment
//! in an event stream that is silent for long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::message_endpoint::EndpointEventRewriter;
use crate::sessions::LiveSession;
use crate::without_trailers::WithoutTrailers;

/// Forwards a backend's body as it arrives. Aborts when the session ends, the gateway stops or the
/// time is over. When it is dropped, for example because the caller disconnects, it closes the
/// backend's stream.
pub(super) struct Relayed {
    body: WithoutTrailers<Incoming>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    announcements: Option<EndpointEventRewriter>,
    keep_alive: Option<KeepAlive>,
}

/// How a response is relayed.
pub(super) struct RelayOptions {
    /// The maximum duration.
    pub(super) left: Duration,
    pub(super) announcements: Option<EndpointEventRewriter>,
    pub(super) keep_alive: Option<KeepAlive>,
}

/// Comments in a silent event stream. Without them, a proxy in front of the gateway would close it.
pub(super) struct KeepAlive {
    every: Duration,
    next: Pin<Box<Sleep>>,
    /// Whether the stream is within a line, where no comment can be.
    is_within_line: bool,
}

/// A line that readers of event streams ignore, even between the lines of an event.
const COMMENT: &[u8] = b":\n";

impl KeepAlive {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            next: Box::pin(tokio::time::sleep(every)),
            is_within_line: false,
        }
    }

    /// Records the forwarded bytes.
    fn note(&mut self, data: &[u8]) {
        if let Some(last) = data.last() {
            self.is_within_line = *last != b'\n';
            self.wait();
        }
    }

    fn wait(&mut self) {
        self.next.as_mut().reset(Instant::now() + self.every);
    }

    /// Returns a comment when it is due.
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Bytes> {
        while self.next.as_mut().poll(context).is_ready() {
            self.wait();
            if !self.is_within_line {
                return Some(Bytes::from_static(COMMENT));
            }
        }
        None
    }
}

impl Relayed {
    /// Creates a body for a caller of `session`.
    pub(super) fn new(body: Incoming, session: &Arc<LiveSession>, options: RelayOptions) -> Self {
        Self {
            body: WithoutTrailers(body),
            end: Box::pin(end(Arc::clone(session), options.left)),
            announcements: options.announcements,
            keep_alive: options.keep_alive,
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> io::Result<Frame<Bytes>> {
        let Some(announcements) = &mut self.announcements else {
            return Ok(frame);
        };
        match frame.into_data() {
            Ok(data) => announcements.push(&data).map(Frame::data).map_err(|error| {
                tracing::warn!(%error, "a stream was cut");
                io::Error::other(error)
            }),
            Err(trailers) => Ok(trailers),
        }
    }
}

/// Waits until the session ends or the time is over. Holds the session, not only its token:
/// [`Sessions`](crate::sessions::Sessions) forgets a session that no request holds, and its end would
/// be missed.
async fn end(session: Arc<LiveSession>, left: Duration) {
    tokio::select! {
        () = session.cut.cancelled() => {}
        () = tokio::time::sleep(left) => {}
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                return Poll::Ready(Some(Err(io::Error::other(error))));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Pending => {
                let keep_alive = self.keep_alive.as_mut();
                let comment = keep_alive.and_then(|keep_alive| keep_alive.poll(context));
                return comment.map_or(Poll::Pending, |comment| {
                    Poll::Ready(Some(Ok(Frame::data(comment))))
                });
            }
        };
        let passed = self.pass(frame);
        if let (Ok(frame), Some(keep_alive)) = (&passed, &mut self.keep_alive)
            && let Some(data) = frame.data_ref()
        {
            keep_alive.note(data);
        }
        Poll::Ready(Some(passed))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.announcements.is_some() || self.keep_alive.is_some() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}
