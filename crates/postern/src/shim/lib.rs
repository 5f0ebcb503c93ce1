//! `postern connect`: what a host spawns. Carries lines between stdio and the bridge.
//!
//! Invariants: stdout carries MCP and nothing else; nothing of what passes is changed; no token,
//! no TLS, no keychain, no window ever comes near this module. It does not end because a bridge
//! does, and not because a server is unknown: a host would only start it again.
//!
//! Owns: the one loop over everything that can happen. Does not own: what must be remembered
//! ([`memory`]), and how a bridge is found ([`link`]).

mod allocator;
mod answer;
mod contact;
mod line_queue;
mod link;
mod memory;
mod parent;
mod signals;
mod stdio;

use std::future::pending;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use control::CallError;
use control::api::{Problem, ProblemKind};
use control::hello::{LONGEST_MESSAGE, YIELDING};
use control::lines::{Lines, MAX_SHORT_LINE, Part, Piece};
use mcp::{LongMessage, Message};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use contact::Contact;
use line_queue::LineQueue;
use link::{Dialler, Dialling, Link, Need, NoLink, unavailable};
use memory::Memory;

pub use allocator::{limit_free_memory, return_free_memory};
pub use link::{Dialler as Options, IDLE_EXIT};
pub use signals::told_to_end;
pub use stdio::complain;

/// How many bytes may wait for the host before the bridge is left unread.
const ROOM: usize = 64 * 1024;

/// How long after the end of stdin answers are waited for.
const DRAIN: Duration = Duration::from_secs(120);

/// How often it is looked meanwhile whether anybody is left to read them.
const LOOK: Duration = Duration::from_millis(500);

/// How long after a long line free memory is given back to the system: once its buffer is gone
/// ([`Lines`]), and not while more of them come.
const TRIM_AFTER: Duration = Duration::from_secs(2);

/// How long a refusal stands before the next request asks again.
const REFUSAL: Duration = Duration::from_secs(1);

/// Serves the host on stdin and stdout until stdin ends and everything owed is delivered, or
/// the host goes, or a signal comes.
pub async fn run(options: Options) {
    limit_free_memory();
    let shim = Shim {
        host: Lines::new(stdio::input(), LONGEST_MESSAGE),
        host_state: HostState::Open,
        long: LongMessage::default(),
        answers: stdio::output(),
        to_host: LineQueue::default(),
        trim_at: None,
        memory: Memory::new(options.shown_server(), LONGEST_MESSAGE),
        bridge: Bridge::dial(options.clone(), Need::Now, false),
        contact: Contact::new(),
        dialler: options,
    };
    tokio::select! {
        () = shim.serve() => {}
        () = signals::told_to_end() => {}
    }
}

struct Shim<R, W> {
    host: Lines<R>,
    host_state: HostState,
    /// The line of the host's that is too long and has not ended.
    long: LongMessage,
    answers: W,
    to_host: LineQueue,
    /// When the memory of long lines is given back to the system.
    trim_at: Option<Instant>,
    memory: Memory,
    bridge: Bridge,
    contact: Contact,
    dialler: Dialler,
}

enum HostState {
    Open,
    /// Stdin ended; answers are delivered until then.
    Draining {
        until: Instant,
    },
    /// Nobody reads stdout any more.
    Gone,
}

enum Bridge {
    Up(Box<Link>),
    Dialling {
        dialling: Dialling,
        /// Tells it that the host waits.
        hurry: Rc<Notify>,
    },
    /// There is one that does not react: the host is answered, and the bridge waited for.
    Hung {
        problem: Problem,
        waiting: Dialling,
    },
    /// There is none that would serve us.
    Refused(Problem, Instant),
}

/// Everything that can happen.
enum Event {
    HostSaid(io::Result<Option<Piece>>),
    HostTook(io::Result<usize>),
    HostLooked,
    BridgeSaid(io::Result<Option<Bytes>>),
    BridgeTook(io::Result<()>),
    BridgeHangs(CallError),
    Dialled(Result<Box<Link>, NoLink>),
    Trim,
}

impl Event {
    /// Returns how many bytes were read.
    fn length(&self) -> usize {
        match self {
            Self::HostSaid(Ok(Some(Piece::Line(line) | Piece::Part(Part { bytes: line, .. })))) => {
                line.len()
            }
            Self::BridgeSaid(Ok(Some(line))) => line.len(),
            _ => 0,
        }
    }
}

async fn pause_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => pending().await,
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Shim<R, W> {
    async fn serve(mut self) {
        while !self.is_over() {
            let event = self.event().await;
            self.handle(event).await;
        }
        self.flush().await;
    }

    /// Stdout is written by a thread that has a buffer of its own, and must be done before the
    /// process ends: it is waited for as long as answers are, while somebody reads.
    async fn flush(&mut self) {
        let until = match self.host_state {
            HostState::Draining { until } => until,
            HostState::Open | HostState::Gone => Instant::now(),
        };
        loop {
            let flushed = tokio::time::timeout(LOOK, self.answers.flush()).await;
            if flushed.is_ok() || Instant::now() >= until || stdio::nobody_reads() {
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.host_state {
            HostState::Open => false,
            HostState::Draining { until } => {
                let delivered = self.to_host.is_empty() && !self.memory.owes();
                let passed_on = !self.memory.needs_bridge() && !self.bridge.is_sending();
                (delivered && passed_on) || Instant::now() >= until
            }
            HostState::Gone => true,
        }
    }

    /// The bridge comes first: its end must be noticed before more is sent to it.
    async fn event(&mut self) -> Event {
        let has_room = self.to_host.remaining() < ROOM;
        let has_answers = !self.to_host.is_empty();
        let is_open = matches!(self.host_state, HostState::Open);
        let awaits_bridge = matches!(self.bridge, Bridge::Up(_)) && self.memory.owes();
        tokio::select! {
            biased;
            event = self.bridge.event(has_room) => event,
            written = self.answers.write_buf(&mut self.to_host), if has_answers => Event::HostTook(written),
            piece = self.host.next_piece(), if is_open && !self.memory.is_full() => Event::HostSaid(piece),
            () = tokio::time::sleep(LOOK), if !is_open => Event::HostLooked,
            () = pause_until(self.trim_at) => Event::Trim,
            hung = self.contact.lost(&self.dialler), if awaits_bridge => Event::BridgeHangs(hung),
        }
    }

    async fn handle(&mut self, event: Event) {
        if matches!(event, Event::BridgeSaid(_) | Event::BridgeTook(_)) {
            self.contact.renew();
        }
        if event.length() > MAX_SHORT_LINE {
            self.trim_at = Some(Instant::now() + TRIM_AFTER);
        }
        match event {
            Event::Trim => {
                return_free_memory();
                // What the host has not taken yet is not free.
                let is_left = !self.to_host.is_empty();
                self.trim_at = is_left.then(|| Instant::now() + TRIM_AFTER);
            }
            Event::HostSaid(Ok(Some(Piece::Line(line)))) => {
                for answer in self.memory.host_said(line) {
                    self.tell(&answer);
                }
            }
            Event::HostSaid(Ok(Some(Piece::Part(Part { bytes, is_last })))) => {
                self.long.read(&bytes);
                if is_last {
                    self.drop_long();
                }
            }
            Event::HostSaid(Ok(None) | Err(_)) => {
                let until = Instant::now() + DRAIN;
                self.host_state = HostState::Draining { until };
            }
            Event::HostTook(Ok(_)) => {}
            Event::HostTook(Err(_)) => self.host_state = HostState::Gone,
            Event::HostLooked => {
                if stdio::nobody_reads() {
                    self.host_state = HostState::Gone;
                }
            }
            Event::BridgeSaid(Ok(Some(line))) if line.first() == Some(&b'#') => {
                self.bridge.heard(&line);
            }
            Event::BridgeSaid(Ok(Some(line))) => self.pass_on(line),
            Event::BridgeSaid(Ok(None) | Err(_)) => self.lost(None),
            Event::BridgeHangs(hung) => self.lost(Some(&unavailable(&hung))),
            Event::BridgeTook(Err(_)) => self.bridge_stopped_reading(),
            Event::BridgeTook(Ok(())) => {
                if let Some(message) = self.bridge.sent() {
                    self.memory.sent(&message);
                }
            }
            Event::Dialled(Ok(link)) => {
                self.bridge = Bridge::Up(link);
                self.memory.found();
            }
            Event::Dialled(Err(NoLink::Refused(problem))) => self.refused(problem),
            Event::Dialled(Err(NoLink::Hung { problem, waiting })) => {
                stdio::complain(format_args!("{}: {problem}", self.dialler.shown_server()));
                self.bridge = Bridge::Hung { problem, waiting };
            }
        }
        self.advance().await;
    }

    /// Gives the bridge what it is to have next, or sees to it that there is one.
    async fn advance(&mut self) {
        let ended = !matches!(self.host_state, HostState::Open);
        match &mut self.bridge {
            Bridge::Up(link) => {
                if link.sending.is_none() && link.yielding {
                    link.half_close().await;
                } else if link.sending.is_none() && !link.half_closed {
                    match self.memory.next() {
                        Some(message) => link.send(message),
                        None if ended && !self.memory.needs_bridge() => link.half_close().await,
                        None => {}
                    }
                }
            }
            Bridge::Dialling { hurry, .. } if self.memory.needs_bridge() => hurry.notify_one(),
            Bridge::Refused(problem, since) if self.memory.needs_bridge() => {
                if since.elapsed() < REFUSAL {
                    let problem = problem.clone();
                    self.tell_refusal(&problem);
                } else {
                    self.dial(Need::Now);
                }
            }
            Bridge::Hung { problem, .. } if self.memory.needs_bridge() => {
                for answer in self.memory.hung(problem) {
                    self.tell(&answer);
                }
            }
            Bridge::Dialling { .. } | Bridge::Hung { .. } | Bridge::Refused(..) => {}
        }
    }

    /// Answers a message that was too long to be kept.
    fn drop_long(&mut self) {
        let long = std::mem::take(&mut self.long);
        match self.memory.host_said_too_much(long.kind()) {
            Some(answer) => self.tell(&answer),
            None => stdio::complain(format_args!(
                "{}: the host's answer is longer than 64 MiB; the server gets an error instead",
                self.dialler.shown_server()
            )),
        }
    }

    fn pass_on(&mut self, line: Bytes) {
        match self.memory.bridge_said(line) {
            Ok(Some(line)) => self.to_host.push(line),
            Ok(None) => {
                for news in self.memory.news() {
                    self.tell(&news);
                }
            }
            Err(error) => stdio::complain(format_args!(
                "{}: the bridge said something that is not MCP, which is dropped: {error}",
                self.dialler.shown_server()
            )),
        }
    }

    /// A bridge that takes no more may still have answers on their way: its end comes after them.
    fn bridge_stopped_reading(&mut self) {
        let Bridge::Up(link) = &mut self.bridge else {
            return;
        };
        link.half_closed = true;
        match link.sending.take() {
            Some(sending) if sending.is_untouched() => self.memory.not_sent(sending.message),
            Some(sending) => self.memory.sent(&sending.message),
            None => {}
        }
    }

    /// The connection is over: the bridge ended, or hangs.
    fn lost(&mut self, hung: Option<&Problem>) {
        let Bridge::Up(link) = &self.bridge else {
            return;
        };
        let (yielding, half_closed) = (link.yielding, link.half_closed);
        self.bridge_stopped_reading();
        for told in self.memory.lost(hung) {
            self.tell(&told);
        }
        let ended = !matches!(self.host_state, HostState::Open);
        if ended && half_closed && !yielding {
            // It had everything and answered what it would.
            let problem = Problem::new(
                ProblemKind::Unreachable,
                "the bridge ended without an answer",
            );
            self.tell_refusal(&problem.with_hint("try again"));
        }
        self.dial(match (yielding, self.memory.needs_bridge()) {
            (true, _) => Need::Successor,
            (false, true) => Need::Now,
            (false, false) => Need::WhenThere,
        });
    }

    fn refused(&mut self, problem: Problem) {
        stdio::complain(format_args!("{}: {problem}", self.dialler.shown_server()));
        self.tell_refusal(&problem);
        self.bridge = Bridge::Refused(problem, Instant::now());
    }

    fn tell_refusal(&mut self, problem: &Problem) {
        for answer in self.memory.refused(problem) {
            self.tell(&answer);
        }
    }

    fn dial(&mut self, need: Need) {
        self.bridge = Bridge::dial(self.dialler.clone(), need, self.memory.is_resumed());
    }

    fn tell(&mut self, message: &Message) {
        self.to_host.push(message.line());
    }
}

impl Bridge {
    fn dial(dialler: Dialler, need: Need, resumed: bool) -> Self {
        let hurry = Rc::new(Notify::new());
        Self::Dialling {
            dialling: dialler.dial(need, resumed, Rc::clone(&hurry)),
            hurry,
        }
    }

    async fn event(&mut self, has_room: bool) -> Event {
        match self {
            Self::Up(link) => link_event(link, has_room).await,
            Self::Dialling { dialling, .. } => Event::Dialled(dialling.await),
            Self::Hung { waiting, .. } => Event::Dialled(waiting.await),
            Self::Refused(..) => pending().await,
        }
    }

    /// The bridge's own words. Those that a newer bridge may have and we do not know mean nothing.
    fn heard(&mut self, word: &[u8]) {
        if let Self::Up(link) = self
            && word == YIELDING.as_bytes()
        {
            link.yielding = true;
        }
    }

    /// The message that left whole with the last write.
    fn sent(&mut self) -> Option<Message> {
        let Self::Up(link) = self else { return None };
        link.sending
            .take_if(|sending| sending.is_done())
            .map(|sending| sending.message)
    }

    fn is_sending(&self) -> bool {
        matches!(self, Self::Up(link) if link.sending.is_some())
    }
}

async fn link_event(link: &mut Link, has_room: bool) -> Event {
    let Link {
        lines,
        writer,
        sending,
        ..
    } = link;
    let write = async {
        match sending {
            Some(sending) => sending.write(writer).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        line = lines.next(), if has_room => Event::BridgeSaid(line),
        written = write => Event::BridgeTook(written),
    }
}
