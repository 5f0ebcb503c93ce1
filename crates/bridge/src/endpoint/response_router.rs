//! Which of a session's messages belongs on which HTTP response.
//!
//! Owns: the open responses of one session, and the stream for all that belongs to none.
//! Does not own: sessions, or how a response is written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp::memory::FLOOR;
use mcp::{Kind, RequestId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::Instant;

use crate::bridge_state::{OpenGuard, Presence};
use crate::session::ToHost;

/// Messages kept for a host that has no stream open; the oldest go first.
const KEPT: usize = 64;

/// How long they may be together, in bytes. The floor of the session's memory has room for them, so
/// that they keep none from others.
const MAX_KEPT_BYTES: usize = FLOOR / 2;

/// Messages on one response before the session has to wait.
const DEPTH: usize = 32;

/// How long a host may leave a response unread before it is cut: the others wait for it.
const STALLED: Duration = Duration::from_secs(10);

/// The open responses.
#[derive(Debug)]
pub(super) struct Responses {
    inner: Mutex<Inner>,
    host: Presence,
}

/// What goes out on one response or stream. The host counts as active until it is dropped.
#[derive(Debug)]
pub(super) struct Outgoing {
    from: mpsc::Receiver<ToHost>,
    _open: OpenGuard,
}

impl Outgoing {
    pub(super) async fn recv(&mut self) -> Option<ToHost> {
        self.from.recv().await
    }
}

#[derive(Debug, Default)]
struct Inner {
    posts: HashMap<RequestId, mpsc::Sender<ToHost>>,
    stream: Option<mpsc::Sender<ToHost>>,
    kept: VecDeque<ToHost>,
}

impl Inner {
    fn kept_bytes(&self) -> usize {
        let kept = self.kept.iter();
        kept.map(|told| told.message.bytes().len()).sum()
    }

    /// A host without a stream would never see a request of the server that belongs to none of
    /// its own, and the server may be waiting for it before it answers one of those.
    fn any_post(&self, message: &ToHost) -> Option<mpsc::Sender<ToHost>> {
        let asks = matches!(message.message.kind(), Kind::Request { .. });
        let mut posts = self.posts.values().filter(|post| !post.is_closed());
        asks.then(|| posts.next().cloned()).flatten()
    }

    /// Asks a host on the response to its next request what it could not be asked before.
    fn hand_over_questions(&mut self, post: &mpsc::Sender<ToHost>) {
        let asks = |told: &ToHost| matches!(told.message.kind(), Kind::Request { .. });
        while post.capacity() > 0
            && let Some(at) = self.kept.iter().position(asks)
            && let Some(question) = self.kept.remove(at)
        {
            goes_out(&question);
            // There is room.
            let _ = post.try_send(question);
        }
    }
}

impl Responses {
    pub(super) fn new(host: Presence) -> Self {
        Self {
            inner: Mutex::default(),
            host,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self, from: mpsc::Receiver<ToHost>) -> Outgoing {
        Outgoing {
            from,
            _open: self.host.open(),
        }
    }

    /// Records that the host has sent something that gets no answer.
    pub(super) fn note_message(&self) {
        drop(self.host.open());
    }

    /// Opens the response to a request. `None` if that id is in use already.
    pub(super) fn open(&self, id: RequestId) -> Option<Outgoing> {
        let (to, from) = mpsc::channel(DEPTH);
        let mut inner = self.inner();
        if inner.posts.get(&id).is_some_and(|taken| !taken.is_closed()) {
            return None;
        }
        inner.hand_over_questions(&to);
        inner.posts.insert(id, to);
        drop(inner);
        Some(self.outgoing(from))
    }

    /// Opens the stream for what belongs to no request, in place of an earlier one, and hands
    /// over what was kept for it.
    pub(super) fn listen(&self) -> (VecDeque<ToHost>, Outgoing) {
        let (to, from) = mpsc::channel(DEPTH);
        let mut inner = self.inner();
        inner.stream = Some(to);
        let kept = std::mem::take(&mut inner.kept);
        kept.iter().for_each(goes_out);
        drop(inner);
        (kept, self.outgoing(from))
    }

    /// Ends the response to a request that the host has cancelled.
    pub(super) fn close(&self, id: &RequestId) {
        self.inner().posts.remove(id);
    }

    /// Whether the host has a stream or a response open.
    pub(super) fn in_use(&self) -> bool {
        let inner = self.inner();
        inner
            .stream
            .as_ref()
            .is_some_and(|stream| !stream.is_closed())
            || inner.posts.values().any(|post| !post.is_closed())
    }

    /// Carries a session's messages to where they belong, until the session ends.
    pub(super) async fn carry(&self, mut from: mpsc::Receiver<ToHost>) {
        while let Some(message) = from.recv().await {
            let is_answer = message.message.method().is_none();
            let Some(to) = self.way_for(&message, is_answer) else {
                continue;
            };
            match to.send_timeout(message, STALLED).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(lost)) if !is_answer => self.keep(lost),
                Err(SendTimeoutError::Closed(_)) => {}
                Err(SendTimeoutError::Timeout(lost)) => {
                    self.cut(&to);
                    self.keep(lost);
                }
            }
        }
        *self.inner() = Inner::default();
    }

    /// The response or stream for a message. An answer ends its response.
    fn way_for(&self, message: &ToHost, is_answer: bool) -> Option<mpsc::Sender<ToHost>> {
        let mut inner = self.inner();
        let post = match (&message.request, is_answer) {
            (Some(id), true) => return inner.posts.remove(id),
            (Some(id), false) => inner.posts.get(id).cloned(),
            (None, _) => None,
        };
        let open = post
            .or_else(|| inner.stream.clone())
            .filter(|to| !to.is_closed())
            .or_else(|| inner.any_post(message));
        if open.is_none() {
            drop(inner);
            self.keep(message.clone());
        }
        open
    }

    /// Ends a response that its host does not read.
    fn cut(&self, stalled: &mpsc::Sender<ToHost>) {
        tracing::warn!("a host has not read its response for a while; it is cut");
        let mut inner = self.inner();
        inner.posts.retain(|_, post| !post.same_channel(stalled));
        inner.stream.take_if(|stream| stream.same_channel(stalled));
    }

    fn keep(&self, message: ToHost) {
        let mut inner = self.inner();
        let asked = message.message.cancels();
        let is_asked = |told: &ToHost| asked.is_some() && told.message.id() == asked.as_ref();
        if let Some(at) = inner.kept.iter().position(is_asked) {
            // The host was not asked yet, and is not any more.
            inner.kept.remove(at);
            return;
        }
        if message.message.bytes().len() > MAX_KEPT_BYTES {
            let length = message.message.bytes().len();
            tracing::warn!(
                length,
                "a message was dropped: its host has no stream open, and it is too long to be kept"
            );
            return;
        }
        inner.kept.push_back(message);
        while inner.kept.len() > KEPT || inner.kept_bytes() > MAX_KEPT_BYTES {
            inner.kept.pop_front();
        }
    }
}

/// A message that was kept goes out now.
fn goes_out(told: &ToHost) {
    if let Some(sent) = &told.sent {
        sent.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use mcp::{Message, RequestId};
    use model::Clock;
    use tokio::sync::{mpsc, watch};

    use super::Responses;
    use crate::bridge_state::Presence;
    use crate::session::ToHost;

    fn responses() -> Responses {
        let changed = watch::Sender::new(());
        Responses::new(Presence::new(Clock::system(), changed))
    }

    fn remark() -> ToHost {
        ToHost {
            message: Message::notification("notifications/x", None),
            request: None,
            sent: None,
        }
    }

    #[tokio::test]
    async fn what_a_server_asks_reaches_a_host_without_a_stream() {
        let responses = responses();
        let mut post = responses.open(RequestId::number(1)).unwrap();
        let (session, from) = mpsc::channel(2);
        let question = ToHost {
            message: Message::request(&RequestId::number(7), "roots/list", None),
            request: None,
            sent: None,
        };
        session.send(remark()).await.unwrap();
        session.send(question).await.unwrap();
        drop(session);
        responses.carry(from).await;
        let told = post.recv().await.unwrap();
        assert_eq!(told.message.method(), Some("roots/list"));
        assert!(post.recv().await.is_none(), "a remark waits for the stream");
    }

    #[tokio::test]
    async fn what_could_not_be_asked_is_asked_with_the_next_request() {
        let responses = responses();
        let (session, from) = mpsc::channel(3);
        let ask = |id: &RequestId| ToHost {
            message: Message::request(id, "roots/list", None),
            request: None,
            sent: None,
        };
        let (taken_back, open) = (RequestId::number(7), RequestId::number(8));
        session.send(ask(&taken_back)).await.unwrap();
        let withdrawn = ToHost {
            message: Message::withdrawal(&taken_back, "done"),
            request: None,
            sent: None,
        };
        session.send(withdrawn).await.unwrap();
        session.send(ask(&open)).await.unwrap();
        let request = RequestId::number(1);
        let asking = async {
            let mut post = loop {
                if responses.inner().kept.len() == 1 && session.capacity() == 3 {
                    break responses.open(request.clone()).unwrap();
                }
                tokio::task::yield_now().await;
            };
            let asked = post.recv().await.unwrap();
            assert_eq!(asked.message.id(), Some(&open));
            assert!(responses.open(request.clone()).is_none(), "in use");
            let answer = ToHost {
                message: Message::response(&request, &"yes"),
                request: Some(request.clone()),
                sent: None,
            };
            session.send(answer).await.unwrap();
            assert!(post.recv().await.unwrap().message.answers(&request));
            drop(session);
        };
        tokio::join!(responses.carry(from), asking);
    }

    #[tokio::test]
    async fn messages_kept_for_next_stream_are_bounded_in_bytes() {
        let responses = responses();
        let (session, from) = mpsc::channel(20);
        for length in [2, 1, 3, 2, 2, 9].map(|eighths| eighths * super::MAX_KEPT_BYTES / 8 - 100) {
            let text = serde_json::json!({ "text": "x".repeat(length) });
            let message = Message::notification("notifications/x", Some(text));
            let told = ToHost {
                message,
                ..remark()
            };
            session.send(told).await.unwrap();
        }
        // What the host has open keeps its responses from being forgotten at the end.
        let carrying = responses.carry(from);
        tokio::pin!(carrying);
        while session.capacity() < 20 {
            let turn = tokio::task::yield_now();
            tokio::select! {
                () = &mut carrying => panic!("the session goes on"),
                () = turn => {}
            }
        }
        let (kept, _stream) = responses.listen();
        let eighths = |told: &ToHost| {
            told.message
                .bytes()
                .len()
                .div_ceil(super::MAX_KEPT_BYTES / 8)
        };
        let kept: Vec<_> = kept.iter().map(eighths).collect();
        assert_eq!(
            kept,
            [1, 3, 2, 2],
            "the oldest is dropped, and the one that is too long"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_reads_does_not_hold_up_an_answer_for_ever() {
        let responses = std::sync::Arc::new(responses());
        let (_, mut unread) = responses.listen();
        let id = RequestId::number(1);
        let mut post = responses.open(id.clone()).unwrap();
        let (session, from) = mpsc::channel(1);
        let carrier = std::sync::Arc::clone(&responses);
        let carrying = tokio::spawn(async move { carrier.carry(from).await });
        for _ in 0..=super::DEPTH {
            session.send(remark()).await.unwrap();
        }
        let answer = ToHost {
            message: Message::response(&id, &"yes"),
            request: Some(id),
            sent: None,
        };
        session.send(answer).await.unwrap();
        assert!(post.recv().await.is_some(), "the answer gets through");
        while unread.recv().await.is_some() {}
        let (kept, _stream) = responses.listen();
        assert_eq!(
            kept.len(),
            1,
            "what the stream did not take is kept for the next"
        );
        drop(session);
        carrying.await.unwrap();
        assert!(post.recv().await.is_none());
    }
}
