//! The state with which a session survives a restart of the bridge.
//!
//! Owns: the handshake, the pending requests, and the messages to send. Does no I/O. Does not own:
//! the content of messages. It passes them on byte for byte, apart from its own error responses and
//! the response to a replayed handshake, which the host must not see.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use control::api::Problem;
use mcp::{Kind, LongKind, Message, Parsed, RequestId};

use crate::responses;

/// How many messages may be queued for a bridge before reading from the host pauses.
const MAX_QUEUED: usize = 1024;

/// How many bytes may be queued, apart from a single message that is longer.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// How often a request is sent again. Limited, because a request may crash every bridge.
const MAX_REPLAYS: u8 = 3;

/// The state of one session of a host with a server, over any number of bridges.
#[derive(Debug)]
pub(crate) struct ReplayState {
    /// The server's name in errors.
    server: String,
    /// The maximum length of a message for a bridge, in bytes.
    max_length: usize,
    stage: Stage,
    handshake: Option<Handshake>,
    queued: VecDeque<Message>,
    pending: BTreeMap<u64, PendingRequest>,
    /// The keys of `pending` by request ID.
    positions: HashMap<RequestId, u64>,
    next_position: u64,
    /// How often requests were sent again.
    replays: HashMap<RequestId, u8>,
    /// Whether this bridge has sent a message, apart from the response to a replayed handshake.
    bridge_responded: bool,
    /// The server's requests that the host has not answered.
    server_requests: HashSet<RequestId>,
    /// The unanswered requests of bridges that have ended. Responses to them are dropped.
    orphaned_requests: HashSet<RequestId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// There is no bridge.
    Disconnected,
    /// There is a bridge, and the handshake is to be replayed next.
    Reconnecting,
    /// The handshake was replayed. Its response is awaited, and will be dropped.
    Replaying,
    /// The bridge has the handshake, or none was made.
    Ready,
}

#[derive(Debug)]
struct Handshake {
    id: RequestId,
    initialize: Message,
    answered: bool,
    /// Whether the shim itself answered, and the host has not been sent the list changes yet.
    is_fallback: bool,
    initialized: Option<Message>,
}

#[derive(Debug)]
struct PendingRequest {
    id: RequestId,
    /// The request, if it can safely be sent twice.
    replayable: Option<Message>,
    /// Whether it is a subscription, which the server does not complete.
    endless: bool,
}

impl ReplayState {
    pub(crate) fn new(server: &str, max_length: usize) -> Self {
        Self {
            server: server.to_owned(),
            max_length,
            stage: Stage::Disconnected,
            handshake: None,
            queued: VecDeque::new(),
            pending: BTreeMap::new(),
            positions: HashMap::new(),
            next_position: 0,
            replays: HashMap::new(),
            bridge_responded: false,
            server_requests: HashSet::new(),
            orphaned_requests: HashSet::new(),
        }
    }

    /// Queues a line of the host: a message, or an array of messages. Returns the errors for invalid
    /// ones.
    pub(crate) fn receive_from_host(&mut self, line: Bytes) -> Vec<Message> {
        let length = line.len();
        let batch = match Parsed::from_host(line) {
            Ok(Parsed::Message(message)) => {
                return self.receive_message(message, length).into_iter().collect();
            }
            Ok(Parsed::Batch(batch)) => batch,
            Err(error) => return vec![error.to_response()],
        };
        let answers = batch.map(|element| match element {
            Ok(message) => {
                let length = message.bytes().len();
                self.receive_message(message, length)
            }
            Err(invalid) => Some(invalid.to_response()),
        });
        answers.flatten().collect()
    }

    /// Queues a message of the host, of a line with this length. Returns the error if it is too long.
    fn receive_message(&mut self, message: Message, length: usize) -> Option<Message> {
        if length > self.max_length {
            return Some(responses::too_long(message.id()));
        }
        match message.kind() {
            Kind::Request { method, .. } if &**method == "initialize" => {
                self.handshake = Handshake::of(&message);
            }
            Kind::Notification { method } if &**method == "notifications/initialized" => {
                if self.record_initialized(&message) {
                    return None;
                }
            }
            Kind::Notification { method } if &**method == "notifications/cancelled" => {
                if self.record_cancelled(&message) {
                    return None;
                }
            }
            Kind::Response { id, .. } => {
                self.server_requests.remove(id);
                if self.orphaned_requests.remove(id) {
                    return None;
                }
            }
            Kind::Request { .. } | Kind::Notification { .. } | Kind::ErrorWithoutId => {}
        }
        self.queued.push_back(message);
        None
    }

    /// Records an oversized message of the host, which was dropped. Returns the error for the host.
    /// Returns `None` for a response: the server gets an error instead, because it would wait for the
    /// response.
    pub(crate) fn receive_oversized(&mut self, kind: LongKind) -> Option<Message> {
        match kind {
            LongKind::Request(id) => Some(responses::too_long(Some(&id))),
            LongKind::Other => Some(responses::too_long(None)),
            LongKind::Response(id) => {
                self.server_requests.remove(&id);
                if !self.orphaned_requests.remove(&id) {
                    self.queued.push_back(responses::too_long(Some(&id)));
                }
                None
            }
        }
    }

    /// Processes a line of the bridge and returns it for the host. Returns `None` for the response to a
    /// replayed handshake.
    ///
    /// # Errors
    /// If the line is not MCP. It must not reach stdout.
    pub(crate) fn receive_from_bridge(
        &mut self,
        line: Bytes,
    ) -> Result<Option<Bytes>, mcp::ParseError> {
        let message = Message::parse(line)?;
        match message.kind() {
            Kind::Response { id, .. } => {
                if self.is_replayed_handshake(id) {
                    self.stage = Stage::Ready;
                    return Ok(None);
                }
                self.record_response(id);
            }
            Kind::Request { id, .. } => {
                self.orphaned_requests.remove(id);
                self.server_requests.insert(id.clone());
            }
            Kind::Notification { .. } | Kind::ErrorWithoutId => {}
        }
        self.bridge_responded = true;
        Ok(Some(message.bytes().clone()))
    }

    /// Records that a bridge is connected.
    pub(crate) fn bridge_connected(&mut self) {
        self.stage = if self.handshake.as_ref().is_some_and(|shake| shake.answered) {
            Stage::Reconnecting
        } else {
            Stage::Ready
        };
    }

    /// Takes the next message for the bridge. After it is written completely, [`Self::mark_sent`] must be
    /// called.
    pub(crate) fn next_to_send(&mut self) -> Option<Message> {
        match (&self.stage, &mut self.handshake) {
            (Stage::Disconnected | Stage::Replaying, _) => None,
            (Stage::Reconnecting, Some(handshake)) => {
                self.stage = Stage::Replaying;
                if let Some(initialized) = handshake.initialized.clone() {
                    self.queued.push_front(initialized);
                }
                Some(handshake.initialize.clone())
            }
            (Stage::Reconnecting | Stage::Ready, _) => self.queued.pop_front(),
        }
    }

    /// Records a message that was written completely.
    pub(crate) fn mark_sent(&mut self, message: &Message) {
        let Kind::Request { id, method } = message.kind() else {
            return;
        };
        if self.is_replayed_handshake(id) {
            return;
        }
        self.next_position += 1;
        if let Some(reused) = self.positions.insert(id.clone(), self.next_position) {
            self.pending.remove(&reused);
        }
        let pending = PendingRequest {
            id: id.clone(),
            replayable: is_repeatable(method).then(|| message.clone()),
            endless: &**method == "subscriptions/listen",
        };
        self.pending.insert(self.next_position, pending);
    }

    /// Puts back a message of which no byte was written.
    pub(crate) fn requeue(&mut self, message: Message) {
        if !message
            .id()
            .is_some_and(|id| self.is_replayed_handshake(id))
        {
            self.queued.push_front(message);
        }
    }

    /// Records the loss of the bridge, and queues pending requests that only read again, up to
    /// [`MAX_REPLAYS`] times. Returns an error for each other pending request, which may or may not
    /// have been carried out, and a cancellation for each request to the host. `hung` is the problem
    /// of a bridge that runs and does not respond.
    pub(crate) fn bridge_lost(&mut self, hung: Option<&Problem>) -> Vec<Message> {
        self.drop_queued_initialized();
        self.stage = Stage::Disconnected;
        self.positions.clear();
        let mut messages = Vec::new();
        for (_, request) in std::mem::take(&mut self.pending).into_iter().rev() {
            let worked = request.endless && self.bridge_responded;
            match request.replayable {
                Some(message) if worked || self.may_replay(&request.id) => {
                    self.queued.push_front(message);
                }
                _ => messages.push(responses::outcome_unknown(&request.id, &self.server, hung)),
            }
        }
        self.bridge_responded = false;
        for id in std::mem::take(&mut self.server_requests) {
            messages.push(responses::cancelled(&id));
            self.orphaned_requests.insert(id);
        }
        messages
    }

    /// Empties the queue, because no bridge serves this session. Returns an error for each request.
    pub(crate) fn fail_queued(&mut self, problem: &Problem) -> Vec<Message> {
        if self.handshake.as_ref().is_some_and(|shake| !shake.answered) {
            self.handshake = None;
        }
        self.replays.clear();
        std::mem::take(&mut self.queued)
            .iter()
            .filter_map(|message| match message.kind() {
                Kind::Request { id, .. } => Some(responses::error(id, &self.server, problem)),
                Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => None,
            })
            .collect()
    }

    /// Empties the queue while the bridge does not respond. Returns a response for each request, so
    /// that the host can go on: a fallback for a handshake and `ping`, and an error for the others.
    /// The handshake is replayed once a bridge is connected.
    pub(crate) fn answer_queued(&mut self, problem: &Problem) -> Vec<Message> {
        let mut messages = Vec::new();
        for message in std::mem::take(&mut self.queued) {
            let Kind::Request { id, .. } = message.kind() else {
                continue;
            };
            let answer = responses::fallback(id, &message);
            if let Some(handshake) = &mut self.handshake
                && handshake.id == *id
            {
                handshake.answered = true;
                handshake.is_fallback = true;
            }
            messages.push(answer.unwrap_or_else(|| responses::error(id, &self.server, problem)));
        }
        messages
    }

    /// Returns the list changes for the host once a bridge has accepted a handshake that the shim had
    /// answered. Returns them once.
    pub(crate) fn take_list_changes(&mut self) -> Vec<Message> {
        match &mut self.handshake {
            Some(handshake) if self.stage == Stage::Ready && handshake.is_fallback => {
                handshake.is_fallback = false;
                responses::list_changes().into()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Returns whether a request was sent to an earlier bridge.
    pub(crate) fn is_resumed(&self) -> bool {
        self.next_position > 0
    }

    /// Returns whether messages are queued.
    pub(crate) fn needs_bridge(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Returns whether requests are queued or pending, apart from subscriptions.
    pub(crate) fn has_pending(&self) -> bool {
        let is_request = |message: &Message| matches!(message.kind(), Kind::Request { .. });
        self.queued.iter().any(is_request) || self.pending.values().any(|request| !request.endless)
    }

    /// Returns whether reading from the host should pause.
    pub(crate) fn is_full(&self) -> bool {
        let bytes = |message: &Message| message.bytes().len();
        self.queued.len() >= MAX_QUEUED
            || self.queued.iter().map(bytes).sum::<usize>() >= MAX_QUEUED_BYTES
    }

    /// Stores the host's `initialized`. Returns whether the replay of the handshake will send it.
    fn record_initialized(&mut self, message: &Message) -> bool {
        let Some(handshake) = &mut self.handshake else {
            return false;
        };
        handshake.initialized = Some(unshared(message));
        handshake.answered && matches!(self.stage, Stage::Disconnected | Stage::Reconnecting)
    }

    /// Drops a cancelled request. Returns whether it was still queued.
    fn record_cancelled(&mut self, message: &Message) -> bool {
        let Some(id) = cancelled_id(message) else {
            return false;
        };
        self.record_response(&id);
        let before = self.queued.len();
        self.queued.retain(|waiting| {
            !matches!(waiting.kind(), Kind::Request { id: waiting, .. } if *waiting == id)
        });
        self.queued.len() < before
    }

    fn record_response(&mut self, id: &RequestId) {
        if let Some(place) = self.positions.remove(id) {
            self.pending.remove(&place);
        }
        self.replays.remove(id);
        if let Some(handshake) = &mut self.handshake
            && handshake.id == *id
        {
            handshake.answered = true;
        }
    }

    /// Counts a replay of a request. Returns whether it is allowed.
    fn may_replay(&mut self, id: &RequestId) -> bool {
        let replays = self.replays.entry(id.clone()).or_default();
        *replays += 1;
        let may = *replays <= MAX_REPLAYS;
        if !may {
            self.replays.remove(id);
        }
        may
    }

    fn is_replayed_handshake(&self, id: &RequestId) -> bool {
        let has_id = |handshake: &Handshake| handshake.id == *id;
        self.stage == Stage::Replaying && self.handshake.as_ref().is_some_and(has_id)
    }

    /// Drops a queued `initialized`, because the replay of the handshake sends it.
    fn drop_queued_initialized(&mut self) {
        if self.handshake.as_ref().is_some_and(|shake| shake.answered) {
            let other = |message: &Message| message.method() != Some("notifications/initialized");
            self.queued.retain(other);
        }
    }
}

impl Handshake {
    fn of(initialize: &Message) -> Option<Self> {
        Some(Self {
            id: initialize.id()?.clone(),
            initialize: unshared(initialize),
            answered: false,
            is_fallback: false,
            initialized: None,
        })
    }
}

/// Copies a message, so that it does not keep the read buffer alive.
fn unshared(message: &Message) -> Message {
    Message::parse(Bytes::copy_from_slice(message.bytes())).unwrap_or_else(|_| message.clone())
}

fn cancelled_id(message: &Message) -> Option<RequestId> {
    #[derive(serde::Deserialize)]
    struct Cancelled<'a> {
        #[serde(borrow, rename = "requestId")]
        request_id: &'a serde_json::value::RawValue,
    }
    let params: Cancelled<'_> = serde_json::from_str(message.params()?.get()).ok()?;
    RequestId::from_json(params.request_id.get())
}

/// Returns whether a request can be sent twice, because it only reads or is idempotent. Tool calls
/// cannot, whatever the tool's annotations are.
fn is_repeatable(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "server/discover"
            | "ping"
            | "tools/list"
            | "prompts/list"
            | "prompts/get"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "subscriptions/listen"
            | "completion/complete"
            | "logging/setLevel"
    )
}

#[cfg(test)]
mod tests;
