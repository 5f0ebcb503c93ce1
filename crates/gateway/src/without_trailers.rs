//! Request bodies without their trailers, which no check has seen.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A caller's body for a backend, without trailers.
pub(crate) struct WithoutTrailers<B>(pub(crate) B);

impl<B: Body<Data = Bytes> + Unpin> Body for WithoutTrailers<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        // Trailers are the end of a body.
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn t59_body_is_forwarded_without_trailers() {
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
