//! What the shim remembers so that a host need not notice when the bridge restarts.
//!
//! Owns: the handshake, the requests that are owed an answer, and what waits to be sent. Does no
//! I/O. Does not own: any message. What it hands out is what it was given, byte for byte, but
//! for errors of our own and the one answer that a repeated handshake must not show.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use control::api::Problem;
use mcp::{Kind, LongKind, Message, Parsed, RequestId};

use crate::answer;

/// How many messages of a host wait for a bridge before the host's stdin is left unread.
const MOST_UNSENT: usize = 1024;

/// How many bytes of them, but for one message that is longer.
const MOST_UNSENT_BYTES: usize = 16 * 1024 * 1024;

/// How often a request is asked again: one that ends every bridge it meets must not go round.
const MOST_REPEATS: u8 = 3;

/// One conversation of a host with a server, over however many bridges.
#[derive(Debug)]
pub(crate) struct Memory {
    /// As errors of ours name it.
    server: String,
    /// The longest message that a bridge takes, in bytes.
    longest: usize,
    stage: Stage,
    handshake: Option<Handshake>,
    unsent: VecDeque<Message>,
    sent: BTreeMap<u64, Sent>,
    /// Where in `sent` a request stands.
    places: HashMap<RequestId, u64>,
    next_place: u64,
    /// How often requests were asked again.
    repeats: HashMap<RequestId, u8>,
    /// Whether this bridge has said anything of its own.
    heard: bool,
    /// The server's requests that the host has not answered.
    asked: HashSet<RequestId>,
    /// The same of bridges that are gone; nobody waits for these answers.
    stale: HashSet<RequestId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// No bridge.
    Away,
    /// A bridge that is about to be sent the handshake again.
    Returning,
    /// A bridge whose answer to the repeated handshake is awaited, and swallowed.
    Repeating,
    /// A bridge that knows what its predecessor knew.
    Ready,
}

#[derive(Debug)]
struct Handshake {
    id: RequestId,
    initialize: Message,
    answered: bool,
    /// Whether that answer was ours, and the host has yet to hear of what is behind it.
    in_place: bool,
    initialized: Option<Message>,
}

#[derive(Debug)]
struct Sent {
    id: RequestId,
    /// The request, where asking twice does no harm.
    repeatable: Option<Message>,
    /// Whether it stays open for as long as the host listens.
    endless: bool,
}

impl Memory {
    pub(crate) fn new(server: &str, longest: usize) -> Self {
        Self {
            server: server.to_owned(),
            longest,
            stage: Stage::Away,
            handshake: None,
            unsent: VecDeque::new(),
            sent: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            repeats: HashMap::new(),
            heard: false,
            asked: HashSet::new(),
            stale: HashSet::new(),
        }
    }

    /// Takes a line of the host: a message, or an array of them. What cannot be understood is answered
    /// at once.
    pub(crate) fn host_said(&mut self, line: Bytes) -> Vec<Message> {
        let length = line.len();
        let batch = match Parsed::from_host(line) {
            Ok(Parsed::Message(message)) => {
                return self.host_sent(message, length).into_iter().collect();
            }
            Ok(Parsed::Batch(batch)) => batch,
            Err(error) => return vec![error.to_response()],
        };
        let answers = batch.map(|element| match element {
            Ok(message) => {
                let length = message.bytes().len();
                self.host_sent(message, length)
            }
            Err(invalid) => Some(invalid.to_response()),
        });
        answers.flatten().collect()
    }

    /// Takes a message of the host, whose line is so long. Returns the error if no bridge takes it.
    fn host_sent(&mut self, message: Message, length: usize) -> Option<Message> {
        if length > self.longest {
            return Some(answer::too_long(message.id()));
        }
        match message.kind() {
            Kind::Request { method, .. } if &**method == "initialize" => {
                self.handshake = Handshake::of(&message);
            }
            Kind::Notification { method } if &**method == "notifications/initialized" => {
                if self.initialized(&message) {
                    return None;
                }
            }
            Kind::Notification { method } if &**method == "notifications/cancelled" => {
                if self.cancelled(&message) {
                    return None;
                }
            }
            Kind::Response { id, .. } => {
                self.asked.remove(id);
                if self.stale.remove(id) {
                    return None;
                }
            }
            Kind::Request { .. } | Kind::Notification { .. } | Kind::ErrorWithoutId => {}
        }
        self.unsent.push_back(message);
        None
    }

    /// Takes note of a message of the host that was too long to be kept. Returns the error for the
    /// host; one instead of a response is for the server, which would wait for it for ever.
    pub(crate) fn host_said_too_much(&mut self, kind: LongKind) -> Option<Message> {
        match kind {
            LongKind::Request(id) => Some(answer::too_long(Some(&id))),
            LongKind::Other => Some(answer::too_long(None)),
            LongKind::Response(id) => {
                self.asked.remove(&id);
                if !self.stale.remove(&id) {
                    self.unsent.push_back(answer::too_long(Some(&id)));
                }
                None
            }
        }
    }

    /// Takes a line of the bridge and returns what of it the host is to see.
    ///
    /// # Errors
    /// Where the line is not MCP: it must not reach stdout.
    pub(crate) fn bridge_said(&mut self, line: Bytes) -> Result<Option<Bytes>, mcp::ParseError> {
        let message = Message::parse(line)?;
        match message.kind() {
            Kind::Response { id, .. } => {
                if self.is_repeated_handshake(id) {
                    self.stage = Stage::Ready;
                    return Ok(None);
                }
                self.answered(id);
            }
            Kind::Request { id, .. } => {
                self.stale.remove(id);
                self.asked.insert(id.clone());
            }
            Kind::Notification { .. } | Kind::ErrorWithoutId => {}
        }
        self.heard = true;
        Ok(Some(message.bytes().clone()))
    }

    /// A bridge is there.
    pub(crate) fn found(&mut self) {
        self.stage = if self.handshake.as_ref().is_some_and(|shake| shake.answered) {
            Stage::Returning
        } else {
            Stage::Ready
        };
    }

    /// What the bridge is to be sent next. Once it is sent whole, [`Self::sent`] must be told.
    pub(crate) fn next(&mut self) -> Option<Message> {
        match (&self.stage, &mut self.handshake) {
            (Stage::Away | Stage::Repeating, _) => None,
            (Stage::Returning, Some(handshake)) => {
                self.stage = Stage::Repeating;
                if let Some(initialized) = handshake.initialized.clone() {
                    self.unsent.push_front(initialized);
                }
                Some(handshake.initialize.clone())
            }
            (Stage::Returning | Stage::Ready, _) => self.unsent.pop_front(),
        }
    }

    /// A message left whole.
    pub(crate) fn sent(&mut self, message: &Message) {
        let Kind::Request { id, method } = message.kind() else {
            return;
        };
        if self.is_repeated_handshake(id) {
            return;
        }
        self.next_place += 1;
        if let Some(reused) = self.places.insert(id.clone(), self.next_place) {
            self.sent.remove(&reused);
        }
        let sent = Sent {
            id: id.clone(),
            repeatable: is_repeatable(method).then(|| message.clone()),
            endless: &**method == "subscriptions/listen",
        };
        self.sent.insert(self.next_place, sent);
    }

    /// A message was handed out and not a byte of it left.
    pub(crate) fn not_sent(&mut self, message: Message) {
        if !message
            .id()
            .is_some_and(|id| self.is_repeated_handshake(id))
        {
            self.unsent.push_front(message);
        }
    }

    /// The bridge is gone. Returns what the host must be told: of each request that may or may
    /// not have been carried out, that this is so; of each question to the host, that nobody
    /// waits for its answer. Requests that only read are asked again, a few times. `hung` is what is
    /// wrong with a bridge that is there and does not react.
    pub(crate) fn lost(&mut self, hung: Option<&Problem>) -> Vec<Message> {
        self.forget_unsent_initialized();
        self.stage = Stage::Away;
        self.places.clear();
        let mut told = Vec::new();
        for (_, sent) in std::mem::take(&mut self.sent).into_iter().rev() {
            let worked = sent.endless && self.heard;
            match sent.repeatable {
                Some(request) if worked || self.may_repeat(&sent.id) => {
                    self.unsent.push_front(request);
                }
                _ => told.push(answer::unknown_fate(&sent.id, &self.server, hung)),
            }
        }
        self.heard = false;
        for id in std::mem::take(&mut self.asked) {
            told.push(answer::withdrawn(&id));
            self.stale.insert(id);
        }
        told
    }

    /// No bridge serves this conversation: every request that waits is answered with why.
    pub(crate) fn refused(&mut self, problem: &Problem) -> Vec<Message> {
        if self.handshake.as_ref().is_some_and(|shake| !shake.answered) {
            self.handshake = None;
        }
        self.repeats.clear();
        std::mem::take(&mut self.unsent)
            .iter()
            .filter_map(|message| match message.kind() {
                Kind::Request { id, .. } => Some(answer::refused(id, &self.server, problem)),
                Kind::Notification { .. } | Kind::Response { .. } | Kind::ErrorWithoutId => None,
            })
            .collect()
    }

    /// The bridge does not react for now: what waits is answered, so that the host goes on. Once
    /// there is a bridge, it gets the handshake.
    pub(crate) fn hung(&mut self, problem: &Problem) -> Vec<Message> {
        let mut told = Vec::new();
        for message in std::mem::take(&mut self.unsent) {
            let Kind::Request { id, .. } = message.kind() else {
                continue;
            };
            let answer = answer::in_place(id, &message);
            if let Some(handshake) = &mut self.handshake
                && handshake.id == *id
            {
                handshake.answered = true;
                handshake.in_place = true;
            }
            told.push(answer.unwrap_or_else(|| answer::refused(id, &self.server, problem)));
        }
        told
    }

    /// Returns what the host is to hear once a bridge has taken the handshake that was answered in
    /// its place.
    pub(crate) fn news(&mut self) -> Vec<Message> {
        match &mut self.handshake {
            Some(handshake) if self.stage == Stage::Ready && handshake.in_place => {
                handshake.in_place = false;
                answer::list_changes().into()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Whether the host has been talking to a bridge before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.next_place > 0
    }

    /// Whether something waits for a bridge.
    pub(crate) fn needs_bridge(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the host waits for an answer that will come by itself.
    pub(crate) fn owes(&self) -> bool {
        let waits = |message: &Message| matches!(message.kind(), Kind::Request { .. });
        self.unsent.iter().any(waits) || self.sent.values().any(|sent| !sent.endless)
    }

    /// Whether the host had better wait.
    pub(crate) fn is_full(&self) -> bool {
        let bytes = |message: &Message| message.bytes().len();
        self.unsent.len() >= MOST_UNSENT
            || self.unsent.iter().map(bytes).sum::<usize>() >= MOST_UNSENT_BYTES
    }

    /// Remembers the host's `initialized`; whether repeating the handshake will send it.
    fn initialized(&mut self, message: &Message) -> bool {
        let Some(handshake) = &mut self.handshake else {
            return false;
        };
        handshake.initialized = Some(detached(message));
        handshake.answered && matches!(self.stage, Stage::Away | Stage::Returning)
    }

    /// Nothing is owed for a cancelled request; whether it has not even been sent.
    fn cancelled(&mut self, message: &Message) -> bool {
        let Some(id) = cancelled_id(message) else {
            return false;
        };
        self.answered(&id);
        let before = self.unsent.len();
        self.unsent.retain(|waiting| {
            !matches!(waiting.kind(), Kind::Request { id: waiting, .. } if *waiting == id)
        });
        self.unsent.len() < before
    }

    fn answered(&mut self, id: &RequestId) {
        if let Some(place) = self.places.remove(id) {
            self.sent.remove(&place);
        }
        self.repeats.remove(id);
        if let Some(handshake) = &mut self.handshake
            && handshake.id == *id
        {
            handshake.answered = true;
        }
    }

    /// Whether a request may be asked once more; counts it.
    fn may_repeat(&mut self, id: &RequestId) -> bool {
        let repeats = self.repeats.entry(id.clone()).or_default();
        *repeats += 1;
        let may = *repeats <= MOST_REPEATS;
        if !may {
            self.repeats.remove(id);
        }
        may
    }

    fn is_repeated_handshake(&self, id: &RequestId) -> bool {
        let of_handshake = |shake: &Handshake| shake.id == *id;
        self.stage == Stage::Repeating && self.handshake.as_ref().is_some_and(of_handshake)
    }

    /// Repeating the handshake sends the `initialized` that goes with it.
    fn forget_unsent_initialized(&mut self) {
        if self.handshake.as_ref().is_some_and(|shake| shake.answered) {
            let other = |message: &Message| message.method() != Some("notifications/initialized");
            self.unsent.retain(other);
        }
    }
}

impl Handshake {
    fn of(initialize: &Message) -> Option<Self> {
        Some(Self {
            id: initialize.id()?.clone(),
            initialize: detached(initialize),
            answered: false,
            in_place: false,
            initialized: None,
        })
    }
}

/// A copy that does not keep the buffer alive which the message was read into.
fn detached(message: &Message) -> Message {
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
