//! What the shim remembers so that a host need not notice when the bridge restarts.
//!
//! Owns: the handshake, the requests that are owed an answer, and what waits to be sent. Does no
//! I/O. Does not own: any message. What it hands out is what it was given, byte for byte, but
//! for errors of our own and the one answer that a repeated handshake must not show.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use control::api::Problem;
use mcp::{Kind, LongKind, Message, Parsed, RequestId};

use crate::responses;

/// How many messages of a host wait for a bridge before the host's stdin is left unread.
const MAX_QUEUED: usize = 1024;

/// How many bytes of them, but for one message that is longer.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// How often a request is asked again: one that ends every bridge it meets must not go round.
const MAX_REPLAYS: u8 = 3;

/// One conversation of a host with a server, over however many bridges.
#[derive(Debug)]
pub(crate) struct ReplayState {
    /// As errors of ours name it.
    server: String,
    /// The longest message that a bridge takes, in bytes.
    max_length: usize,
    stage: Stage,
    handshake: Option<Handshake>,
    queued: VecDeque<Message>,
    pending: BTreeMap<u64, PendingRequest>,
    /// Where in `sent` a request stands.
    positions: HashMap<RequestId, u64>,
    next_position: u64,
    /// How often requests were asked again.
    replays: HashMap<RequestId, u8>,
    /// Whether this bridge has said anything of its own.
    bridge_responded: bool,
    /// The server's requests that the host has not answered.
    server_requests: HashSet<RequestId>,
    /// The same of bridges that are gone; nobody waits for these answers.
    orphaned_requests: HashSet<RequestId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// No bridge.
    Disconnected,
    /// A bridge that is about to be sent the handshake again.
    Reconnecting,
    /// A bridge whose answer to the repeated handshake is awaited, and swallowed.
    Replaying,
    /// A bridge that knows what its predecessor knew.
    Ready,
}

#[derive(Debug)]
struct Handshake {
    id: RequestId,
    initialize: Message,
    answered: bool,
    /// Whether that answer was ours, and the host has yet to hear of what is behind it.
    is_fallback: bool,
    initialized: Option<Message>,
}

#[derive(Debug)]
struct PendingRequest {
    id: RequestId,
    /// The request, where asking twice does no harm.
    replayable: Option<Message>,
    /// Whether it stays open for as long as the host listens.
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

    /// Takes a line of the host: a message, or an array of them. What cannot be understood is answered
    /// at once.
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

    /// Takes a message of the host, whose line is so long. Returns the error if no bridge takes it.
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

    /// Takes note of a message of the host that was too long to be kept. Returns the error for the
    /// host; one instead of a response is for the server, which would wait for it for ever.
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

    /// Takes a line of the bridge and returns what of it the host is to see.
    ///
    /// # Errors
    /// Where the line is not MCP: it must not reach stdout.
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

    /// A bridge is there.
    pub(crate) fn bridge_connected(&mut self) {
        self.stage = if self.handshake.as_ref().is_some_and(|shake| shake.answered) {
            Stage::Reconnecting
        } else {
            Stage::Ready
        };
    }

    /// What the bridge is to be sent next. Once it is sent whole, [`Self::mark_sent`] must be told.
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

    /// A message left whole.
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

    /// A message was handed out and not a byte of it left.
    pub(crate) fn requeue(&mut self, message: Message) {
        if !message
            .id()
            .is_some_and(|id| self.is_replayed_handshake(id))
        {
            self.queued.push_front(message);
        }
    }

    /// The bridge is gone. Returns what the host must be told: of each request that may or may
    /// not have been carried out, that this is so; of each question to the host, that nobody
    /// waits for its answer. Requests that only read are asked again, a few times. `hung` is what is
    /// wrong with a bridge that is there and does not react.
    pub(crate) fn bridge_lost(&mut self, hung: Option<&Problem>) -> Vec<Message> {
        self.drop_queued_initialized();
        self.stage = Stage::Disconnected;
        self.positions.clear();
        let mut told = Vec::new();
        for (_, sent) in std::mem::take(&mut self.pending).into_iter().rev() {
            let worked = sent.endless && self.bridge_responded;
            match sent.replayable {
                Some(request) if worked || self.may_replay(&sent.id) => {
                    self.queued.push_front(request);
                }
                _ => told.push(responses::outcome_unknown(&sent.id, &self.server, hung)),
            }
        }
        self.bridge_responded = false;
        for id in std::mem::take(&mut self.server_requests) {
            told.push(responses::cancelled(&id));
            self.orphaned_requests.insert(id);
        }
        told
    }

    /// No bridge serves this conversation: every request that waits is answered with why.
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

    /// The bridge does not react for now: what waits is answered, so that the host goes on. Once
    /// there is a bridge, it gets the handshake.
    pub(crate) fn answer_queued(&mut self, problem: &Problem) -> Vec<Message> {
        let mut told = Vec::new();
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
            told.push(answer.unwrap_or_else(|| responses::error(id, &self.server, problem)));
        }
        told
    }

    /// Returns what the host is to hear once a bridge has taken the handshake that was answered in
    /// its place.
    pub(crate) fn take_list_changes(&mut self) -> Vec<Message> {
        match &mut self.handshake {
            Some(handshake) if self.stage == Stage::Ready && handshake.is_fallback => {
                handshake.is_fallback = false;
                responses::list_changes().into()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Whether the host has been talking to a bridge before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.next_position > 0
    }

    /// Whether something waits for a bridge.
    pub(crate) fn needs_bridge(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Whether the host waits for an answer that will come by itself.
    pub(crate) fn has_pending(&self) -> bool {
        let waits = |message: &Message| matches!(message.kind(), Kind::Request { .. });
        self.queued.iter().any(waits) || self.pending.values().any(|sent| !sent.endless)
    }

    /// Whether the host had better wait.
    pub(crate) fn is_full(&self) -> bool {
        let bytes = |message: &Message| message.bytes().len();
        self.queued.len() >= MAX_QUEUED
            || self.queued.iter().map(bytes).sum::<usize>() >= MAX_QUEUED_BYTES
    }

    /// Remembers the host's `initialized`; whether repeating the handshake will send it.
    fn record_initialized(&mut self, message: &Message) -> bool {
        let Some(handshake) = &mut self.handshake else {
            return false;
        };
        handshake.initialized = Some(unshared(message));
        handshake.answered && matches!(self.stage, Stage::Disconnected | Stage::Reconnecting)
    }

    /// Nothing is owed for a cancelled request; whether it has not even been sent.
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

    /// Whether a request may be asked once more; counts it.
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
        let of_handshake = |shake: &Handshake| shake.id == *id;
        self.stage == Stage::Replaying && self.handshake.as_ref().is_some_and(of_handshake)
    }

    /// Repeating the handshake sends the `initialized` that goes with it.
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

/// A copy that does not keep the buffer alive which the message was read into.
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

/// Whether a request can be asked twice: it only reads, or sets what is set already. Calling a
/// tool is not among these, whatever its annotations say.
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
