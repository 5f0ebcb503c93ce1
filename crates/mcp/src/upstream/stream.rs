//! An HTTP response that is an event stream.
//!
//! Owns: reading messages from it, and the position at which it ended. Does not own: what a message
//! is for, and whether to resume.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::idle::WatchedBody;
use crate::memory::{Account, Reservation};
use crate::sse::{Decoder, Event, TooLong};
use crate::{Batch, Message, Parsed};

/// A server may keep a response open after its end. After this time the connection is closed.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait if a server names none, similar to that of browsers.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MIN_RETRY: Duration = Duration::from_millis(50);
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// The events of one response body.
pub(super) struct EventStream {
    body: WatchedBody,
    decoder: Decoder,
    decoded: std::vec::IntoIter<Event>,
    /// The length of the chunk in which the decoded events ended.
    chunk: usize,
    /// The remaining messages of an event that was an array.
    batch: Option<Box<Batch>>,
    position: StreamPosition,
    memory: Account,
    /// For the event that is being read.
    reservation: Reservation,
}

/// How far a stream was read, so that it can be resumed.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamPosition {
    /// The id of the last event.
    pub(super) last_id: Option<String>,
    /// The wait that the server asked for.
    retry: Option<Duration>,
}

/// Why there are no more events.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// The stream ended. Whether it did so cleanly makes no difference.
    Ended,
    TooLong(TooLong),
}

impl EventStream {
    /// `position` is where the stream ended that this one continues.
    pub(super) fn new(
        body: WatchedBody,
        limit: usize,
        position: StreamPosition,
        memory: Account,
    ) -> Self {
        Self {
            body,
            decoder: Decoder::new(limit),
            decoded: Vec::new().into_iter(),
            chunk: 0,
            batch: None,
            position,
            reservation: memory.reserve(),
            memory,
        }
    }

    /// Returns the next message. Skips events that are not messages.
    pub(super) async fn message(&mut self) -> Result<Message, StreamEnd> {
        loop {
            match self.batch.as_mut().and_then(Iterator::next) {
                Some(Ok(message)) => return Ok(message),
                Some(Err(error)) => {
                    tracing::warn!(%error, "an event of the server is not a message");
                    continue;
                }
                None => self.batch = None,
            }
            let event = self.event().await?;
            if event.data.is_empty() || event.event.is_some_and(|event| event != "message") {
                continue;
            }
            match Parsed::from_server(event.data) {
                Ok(Parsed::Message(message)) => return Ok(message),
                Ok(Parsed::Batch(batch)) => self.batch = Some(Box::new(batch)),
                Err(error) => tracing::warn!(%error, "an event of the server is not a message"),
            }
        }
    }

    /// Returns the next event.
    pub(super) async fn event(&mut self) -> Result<Event, StreamEnd> {
        loop {
            if let Some(event) = self.decoded.next() {
                let event = self.detach(event).await;
                self.position.advance(&event);
                return Ok(event);
            }
            self.reservation.grow(self.decoder.held()).await;
            let Ok(Some(chunk)) = next_chunk(&mut self.body, &self.reservation).await else {
                return Err(StreamEnd::Ended);
            };
            self.chunk = chunk.len();
            let events = self.decoder.push(chunk).map_err(StreamEnd::TooLong)?;
            self.decoded = events.into_iter();
        }
    }

    /// Copies an event into its own memory. A slice of the chunk would keep all of that allocated.
    async fn detach(&mut self, event: Event) -> Event {
        let is_part = event.data.len() <= self.chunk;
        let data = match is_part {
            true => Bytes::copy_from_slice(&event.data),
            false => event.data,
        };
        let next = self.memory.reserve();
        let mut reservation = std::mem::replace(&mut self.reservation, next);
        reservation.grow(data.len()).await;
        let data = reservation.own(data);
        Event { data, ..event }
    }

    /// Returns how far the stream was read.
    pub(super) fn position(&self) -> &StreamPosition {
        &self.position
    }
}

impl StreamPosition {
    fn advance(&mut self, event: &Event) {
        if let Some(id) = &event.id {
            self.last_id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        self.retry = event.retry.or(self.retry);
    }

    /// Returns the wait before the next attempt, after this many failures.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let first = self.retry.unwrap_or(DEFAULT_RETRY).max(MIN_RETRY);
        let longer = first.saturating_mul(1 << failures.min(6));
        longer.min(MAX_BACK_OFF.max(first))
    }
}

/// A body that ended early.
pub(super) struct Truncated;

/// Reads the next bytes of a body, for a message that holds `reservation`. Returns `None` at the
/// end. Fails if the message takes too long while others wait for its memory.
pub(super) async fn next_chunk(
    body: &mut WatchedBody,
    reservation: &Reservation,
) -> Result<Option<Bytes>, Truncated> {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = reservation.overdue() => {
                tracing::warn!("aborted a message of the server: it took too long while others wait for memory");
                return Err(Truncated);
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
            Some(Err(_)) => return Err(Truncated),
            None => return Ok(None),
        }
    }
}

/// Reads the rest of a body for a short time, so that its connection can be used again.
pub(super) async fn drain(body: &mut WatchedBody) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::StreamPosition;

    #[test]
    fn back_off_grows_to_limit_and_honours_retry() {
        let seconds = |position: &StreamPosition| {
            [0, 1, 2, 5, 40].map(|failures| position.wait(failures).as_secs())
        };
        assert_eq!(seconds(&StreamPosition::default()), [1, 2, 4, 30, 30]);
        let retry = |seconds| StreamPosition {
            last_id: None,
            retry: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(seconds(&retry(100)), [100; 5]);
        assert_eq!(retry(0).wait(0), Duration::from_millis(50));
    }
}
