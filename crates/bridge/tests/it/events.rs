//! An event stream of the bridge, as a host reads it.

use std::collections::VecDeque;

use mcp::sse::{Decoder, Event};

use crate::bridge::TIMEOUT;

/// The events, in order.
pub(crate) struct Events {
    response: reqwest::Response,
    decoder: Decoder,
    ready: VecDeque<Event>,
}

impl Events {
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        Self {
            response: request.send().await.unwrap(),
            decoder: Decoder::new(1 << 20),
            ready: VecDeque::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let chunk = tokio::time::timeout(TIMEOUT, self.response.chunk()).await;
            let chunk = chunk.expect("an event").unwrap().unwrap();
            self.ready.extend(self.decoder.push(chunk).unwrap());
        }
    }

    /// The data of the next event.
    pub(crate) async fn next_text(&mut self) -> String {
        String::from_utf8(self.next().await.data.to_vec()).unwrap()
    }
}
