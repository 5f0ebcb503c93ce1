//! Routes the messages of a session to HTTP responses.
//!
//! Owns: the open responses of one session, and the stream for messages that belong to no request.
//! Does not own: sessions, or how a response is written.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp::memory::FLOOR;
use mcp::{Kind, RequestId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::Instant;

use crate::session::HostMessage;
use crate::session_registry::{OpenGuard, Presence};

/// The maximum of messages held for a host without a stream. The oldest are dropped first.
const MAX_HELD: usize = 64;

/// The maximum size of held messages together, in bytes. It fits into the floor of the session's
/// memory, so they keep no memory from other sessions.
const MAX_HELD_BYTES: usize = FLOOR / 2;

/// The capacity of one response. The session waits when it is full.
const CHANNEL_CAPACITY: usize = 32;

/// How long a host may leave a response unread before it is cut. Other responses wait for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The open responses of a session.
#[derive(Debug)]
pub(super) struct ResponseRouter {
    inner: Mutex<Inner>,
    host: Presence,
}

/// The messages of one response or stream. The host counts as active until this is dropped.
#[derive(Debug)]
pub(super) struct Outgoing {
    from: mpsc::Receiver<HostMessage>,
    _open: OpenGuard,
}

impl Outgoing {
    pub(super) async fn recv(&mut self) -> Option<HostMessage> {
        self.from.recv().await
    }
}

#[derive(Debug, Default)]
struct Inner {
    posts: HashMap<RequestId, mpsc::Sender<HostMessage>>,
    stream: Option<mpsc::Sender<HostMessage>>,
    held: VecDeque<HostMessage>,
}

impl Inner {
    fn held_bytes(&self) -> usize {
        let held = self.held.iter();
        held.map(|outgoing| outgoing.message.bytes().len()).sum()
    }

    /// Returns any open response for a request of the server that belongs to none of the host's
    /// requests. Without a stream the host would never see it, and the server may wait for it
    /// before it responds to one of those.
    fn any_post(&self, message: &HostMessage) -> Option<mpsc::Sender<HostMessage>> {
        let asks = matches!(message.message.kind(), Kind::Request { .. });
        let mut posts = self.posts.values().filter(|post| !post.is_closed());
        asks.then(|| posts.next().cloned()).flatten()
    }

    /// Sends held requests of the server on the response to the host's next request.
    fn deliver_held_requests(&mut self, post: &mpsc::Sender<HostMessage>) {
        let asks = |outgoing: &HostMessage| matches!(outgoing.message.kind(), Kind::Request { .. });
        while post.capacity() > 0
            && let Some(at) = self.held.iter().position(asks)
            && let Some(question) = self.held.remove(at)
        {
            set_sent(&question);
            // The capacity was checked.
            let _ = post.try_send(question);
        }
    }
}

impl ResponseRouter {
    pub(super) fn new(host: Presence) -> Self {
        Self {
            inner: Mutex::default(),
            host,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self, from: mpsc::Receiver<HostMessage>) -> Outgoing {
        Outgoing {
            from,
            _open: self.host.open(),
        }
    }

    /// Records that the host has sent a message without a response.
    pub(super) fn record_message(&self) {
        drop(self.host.open());
    }

    /// Opens the response to a request. Returns `None` if the id is in use.
    pub(super) fn open(&self, id: RequestId) -> Option<Outgoing> {
        let (to, from) = mpsc::channel(CHANNEL_CAPACITY);
        let mut inner = self.inner();
        if inner.posts.get(&id).is_some_and(|taken| !taken.is_closed()) {
            return None;
        }
        inner.deliver_held_requests(&to);
        inner.posts.insert(id, to);
        drop(inner);
        Some(self.outgoing(from))
    }

    /// Opens the stream for messages that belong to no request, in place of an earlier one. Returns
    /// the held messages with it.
    pub(super) fn listen(&self) -> (VecDeque<HostMessage>, Outgoing) {
        let (to, from) = mpsc::channel(CHANNEL_CAPACITY);
        let mut inner = self.inner();
        inner.stream = Some(to);
        let held = std::mem::take(&mut inner.held);
        held.iter().for_each(set_sent);
        drop(inner);
        (held, self.outgoing(from))
    }

    /// Ends the response to a request that the host has cancelled.
    pub(super) fn close(&self, id: &RequestId) {
        self.inner().posts.remove(id);
    }

    /// Returns true if the host has a stream or a response open.
    pub(super) fn in_use(&self) -> bool {
        let inner = self.inner();
        inner
            .stream
            .as_ref()
            .is_some_and(|stream| !stream.is_closed())
            || inner.posts.values().any(|post| !post.is_closed())
    }

    /// Routes the session's messages until the session ends.
    pub(super) async fn route(&self, mut from: mpsc::Receiver<HostMessage>) {
        while let Some(message) = from.recv().await {
            let is_answer = message.message.method().is_none();
            let Some(to) = self.stream_for(&message, is_answer) else {
                continue;
            };
            match to.send_timeout(message, STALL_TIMEOUT).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(lost)) if !is_answer => self.hold(lost),
                Err(SendTimeoutError::Closed(_)) => {}
                Err(SendTimeoutError::Timeout(lost)) => {
                    self.cut(&to);
                    self.hold(lost);
                }
            }
        }
        *self.inner() = Inner::default();
    }

    /// Returns the response or stream for a message. An answer also ends its response.
    fn stream_for(
        &self,
        message: &HostMessage,
        is_answer: bool,
    ) -> Option<mpsc::Sender<HostMessage>> {
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
            self.hold(message.clone());
        }
        open
    }

    /// Ends a response that its host does not read.
    fn cut(&self, stalled: &mpsc::Sender<HostMessage>) {
        tracing::warn!("a host has not read its response for a while; it is cut");
        let mut inner = self.inner();
        inner.posts.retain(|_, post| !post.same_channel(stalled));
        inner.stream.take_if(|stream| stream.same_channel(stalled));
    }

    fn hold(&self, message: HostMessage) {
        let mut inner = self.inner();
        let asked = message.message.cancels();
        let is_asked =
            |outgoing: &HostMessage| asked.is_some() && outgoing.message.id() == asked.as_ref();
        if let Some(at) = inner.held.iter().position(is_asked) {
            // The host has not received the request, and does not get it any more.
            inner.held.remove(at);
            return;
        }
        if message.message.bytes().len() > MAX_HELD_BYTES {
            let length = message.message.bytes().len();
            tracing::warn!(
                length,
                "a message was dropped: its host has no stream open, and it is too long to be kept"
            );
            return;
        }
        inner.held.push_back(message);
        while inner.held.len() > MAX_HELD || inner.held_bytes() > MAX_HELD_BYTES {
            inner.held.pop_front();
        }
    }
}

/// Sets the time at which a held message goes out.
fn set_sent(outgoing: &HostMessage) {
    if let Some(sent) = &outgoing.sent {
        sent.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use mcp::{Message, RequestId};
    use model::Clock;
    use tokio::sync::mpsc;

    use super::ResponseRouter;
    use crate::notifications::Notifications;
    use crate::session::HostMessage;
    use crate::session_registry::Presence;

    fn responses() -> ResponseRouter {
        ResponseRouter::new(Presence::new(Clock::system(), Notifications::default()))
    }

    fn remark() -> HostMessage {
        HostMessage {
            message: Message::notification("notifications/x", None),
            request: None,
            sent: None,
        }
    }

    #[tokio::test]
    async fn server_request_uses_open_response_without_stream() {
        let responses = responses();
        let mut post = responses.open(RequestId::number(1)).unwrap();
        let (session, from) = mpsc::channel(2);
        let question = HostMessage {
            message: Message::request(&RequestId::number(7), "roots/list", None),
            request: None,
            sent: None,
        };
        session.send(remark()).await.unwrap();
        session.send(question).await.unwrap();
        drop(session);
        responses.route(from).await;
        let outgoing = post.recv().await.unwrap();
        assert_eq!(outgoing.message.method(), Some("roots/list"));
        assert!(post.recv().await.is_none(), "a remark waits for the stream");
    }

    #[tokio::test]
    async fn held_server_request_goes_out_with_next_request() {
        let responses = responses();
        let (session, from) = mpsc::channel(3);
        let ask = |id: &RequestId| HostMessage {
            message: Message::request(id, "roots/list", None),
            request: None,
            sent: None,
        };
        let (taken_back, open) = (RequestId::number(7), RequestId::number(8));
        session.send(ask(&taken_back)).await.unwrap();
        let withdrawn = HostMessage {
            message: Message::cancellation_with_reason(&taken_back, "done"),
            request: None,
            sent: None,
        };
        session.send(withdrawn).await.unwrap();
        session.send(ask(&open)).await.unwrap();
        let request = RequestId::number(1);
        let asking = async {
            let mut post = loop {
                if responses.inner().held.len() == 1 && session.capacity() == 3 {
                    break responses.open(request.clone()).unwrap();
                }
                tokio::task::yield_now().await;
            };
            let asked = post.recv().await.unwrap();
            assert_eq!(asked.message.id(), Some(&open));
            assert!(responses.open(request.clone()).is_none(), "in use");
            let answer = HostMessage {
                message: Message::response(&request, &"yes"),
                request: Some(request.clone()),
                sent: None,
            };
            session.send(answer).await.unwrap();
            assert!(post.recv().await.unwrap().message.answers(&request));
            drop(session);
        };
        tokio::join!(responses.route(from), asking);
    }

    #[tokio::test]
    async fn messages_kept_for_next_stream_are_bounded_in_bytes() {
        let responses = responses();
        let (session, from) = mpsc::channel(20);
        for length in [2, 1, 3, 2, 2, 9].map(|eighths| eighths * super::MAX_HELD_BYTES / 8 - 100) {
            let text = serde_json::json!({ "text": "x".repeat(length) });
            let message = Message::notification("notifications/x", Some(text));
            let outgoing = HostMessage {
                message,
                ..remark()
            };
            session.send(outgoing).await.unwrap();
        }
        // The open stream keeps the responses from being dropped at the end.
        let routing = responses.route(from);
        tokio::pin!(routing);
        while session.capacity() < 20 {
            let turn = tokio::task::yield_now();
            tokio::select! {
                () = &mut routing => panic!("the session goes on"),
                () = turn => {}
            }
        }
        let (held, _stream) = responses.listen();
        let eighths = |outgoing: &HostMessage| {
            outgoing
                .message
                .bytes()
                .len()
                .div_ceil(super::MAX_HELD_BYTES / 8)
        };
        let held: Vec<_> = held.iter().map(eighths).collect();
        assert_eq!(
            held,
            [1, 3, 2, 2],
            "the oldest is dropped, and the one that is too long"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn unread_stream_is_cut_and_response_delivered() {
        let responses = std::sync::Arc::new(responses());
        let (_, mut unread) = responses.listen();
        let id = RequestId::number(1);
        let mut post = responses.open(id.clone()).unwrap();
        let (session, from) = mpsc::channel(1);
        let router = std::sync::Arc::clone(&responses);
        let routing = tokio::spawn(async move { router.route(from).await });
        for _ in 0..=super::CHANNEL_CAPACITY {
            session.send(remark()).await.unwrap();
        }
        let answer = HostMessage {
            message: Message::response(&id, &"yes"),
            request: Some(id),
            sent: None,
        };
        session.send(answer).await.unwrap();
        assert!(post.recv().await.is_some(), "the answer gets through");
        while unread.recv().await.is_some() {}
        let (held, _stream) = responses.listen();
        assert_eq!(
            held.len(),
            1,
            "what the stream did not take is kept for the next"
        );
        drop(session);
        routing.await.unwrap();
        assert!(post.recv().await.is_none());
    }
}
