//! HTTP bodies. A request body has a timeout, a response body has none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use threads::Portioned;
use tokio::time::{Instant, Sleep};

use super::connections::Busy;

/// How long a request body may make no progress.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request body that fails if no data arrives for [`BODY_TIMEOUT`]. The time does not run while
/// the body is not polled.
pub(super) struct RequestBody {
    body: Portioned<Incoming>,
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    late: Arc<AtomicBool>,
}

/// The rest of a request body did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the request did not come within {} seconds", BODY_TIMEOUT.as_secs())]
pub(super) struct LateBody;

impl RequestBody {
    /// Creates the body. Sets `late` on a timeout.
    pub(super) fn new(body: Incoming, late: Arc<AtomicBool>) -> Self {
        Self {
            body: Portioned::new(body),
            timer: None,
            is_waiting: false,
            late,
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = Instant::now() + BODY_TIMEOUT;
        match &mut self.timer {
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            Some(timer) if !self.is_waiting => timer.as_mut().reset(until),
            Some(_) => {}
        }
        self.is_waiting = true;
        self.timer
            .as_mut()
            .map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.poll_timeout(cx).is_pending() {
            return Poll::Pending;
        }
        self.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(LateBody.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

/// A response body. Its request is in flight until the body is written.
pub(super) struct ResponseBody {
    body: Portioned<Body>,
    _busy: Busy,
}

impl ResponseBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self {
            body: Portioned::new(body),
            _busy: busy,
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
