//! Bodies on their way: without trailers, which are headers that nobody looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::message_endpoint::Announcements;
use crate::sessions::LiveSession;

/// A caller's body on its way to a backend.
pub(super) struct WithoutTrailers<B>(pub(super) B);

impl<B: Body<Data = Bytes> + Unpin> Body for WithoutTrailers<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        // Trailers are the last there is of a body.
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Passes a backend's body on as it comes. It breaks off when the session ends, the gateway does
/// or its time is up; dropped, as when the caller goes away, it closes the backend's stream.
pub(super) struct Relayed {
    body: WithoutTrailers<Incoming>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    announcements: Option<Announcements>,
    /// Held until a call has its whole answer; none for a stream.
    _call: Option<TaskTrackerToken>,
}

impl Relayed {
    /// For a caller of `session` whose time is up after `left`.
    pub(super) fn new(
        body: Incoming,
        session: &Arc<LiveSession>,
        left: Duration,
        announcements: Option<Announcements>,
        call: Option<TaskTrackerToken>,
    ) -> Self {
        Self {
            body: WithoutTrailers(body),
            end: Box::pin(end(Arc::clone(session), left)),
            announcements,
            _call: call,
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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn t59_a_body_passes_and_its_trailers_do_not() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-postern-user", HeaderValue::from_static("evil"));
        let frames = [
            Frame::data(Bytes::from("a")),
            Frame::data(Bytes::from("b")),
            Frame::trailers(trailers),
        ];
        let frames = tokio_stream::iter(frames.map(Ok::<_, io::Error>));
        let passed = WithoutTrailers(StreamBody::new(frames)).collect().await;
        let passed = passed.unwrap();
        assert!(passed.trailers().is_none());
        assert_eq!(passed.to_bytes(), "ab");
    }
}
