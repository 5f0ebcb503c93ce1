//! A response's body on its way to the caller.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::message_endpoint::Announcements;
use crate::sessions::LiveSession;

/// Passes a backend's body on as it comes. It breaks off when the session ends, the gateway does
/// or its time is up; dropped, as when the caller goes away, it closes the backend's stream.
pub(super) struct Relayed {
    body: Incoming,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    announcements: Option<Announcements>,
}

impl Relayed {
    /// For a caller of `session` whose time is up after `left`.
    pub(super) fn new(
        body: Incoming,
        session: &Arc<LiveSession>,
        left: Duration,
        announcements: Option<Announcements>,
    ) -> Self {
        Self {
            body,
            end: Box::pin(end(Arc::clone(session), left)),
            announcements,
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

/// The session is held and not only its token: one that nobody holds is forgotten, and its end
/// would reach nobody.
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
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            Some(Ok(frame)) => frame,
        };
        Poll::Ready(Some(self.pass(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.announcements.is_some() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}
