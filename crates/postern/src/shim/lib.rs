//! `postern connect`: what a host spawns. Carries lines between stdio and the bridge.
//!
//! Invariants: stdout carries MCP and nothing else; nothing of what passes is changed; no token,
//! no TLS, no keychain, no window ever comes near this module. It does not end because a bridge
//! does, and not because a server is unknown: a host would only start it again.
//!
//! Owns: the one loop over everything that can happen. Does not own: what must be remembered
//! ([`replay`]), and how a bridge is found ([`connection`]).

mod allocator;
mod connection;
mod line_queue;
mod liveness;
mod parent;
mod replay;
mod responses;
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

use connection::{BridgeConnection, ConnectError, ConnectFuture, Connector, DialMode, unavailable};
use line_queue::LineQueue;
use liveness::LivenessProbe;
use replay::ReplayState;

pub use allocator::{limit_free_memory, return_free_memory};
pub use connection::{Connector as Options, IDLE_TIMEOUT};
pub use signals::termination_signal;
pub use stdio::print_error;

/// How many bytes may wait for the host before the bridge is left unread.
const MAX_UNREAD: usize = 64 * 1024;

/// How long after the end of stdin answers are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// How often it is looked meanwhile whether anybody is left to read them.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long after a long line free memory is given back to the system: once its buffer is gone
/// ([`Lines`]), and not while more of them come.
const TRIM_AFTER: Duration = Duration::from_secs(2);

/// How long a refusal stands before the next request asks again.
const ERROR_LIFETIME: Duration = Duration::from_secs(1);

/// Serves the host on stdin and stdout until stdin ends and everything owed is delivered, or
/// the host goes, or a signal comes.
pub async fn run(options: Options) {
    limit_free_memory();
    let shim = Shim {
        host: Lines::new(stdio::input(), LONGEST_MESSAGE),
        host_state: HostState::Open,
        long: LongMessage::default(),
        stdout: stdio::output(),
        to_host: LineQueue::default(),
        trim_at: None,
        replay: ReplayState::new(options.shown_server(), LONGEST_MESSAGE),
        bridge: Bridge::connect(options.clone(), DialMode::Start, false),
        liveness: LivenessProbe::new(),
        connector: options,
    };
    tokio::select! {
        () = shim.serve() => {}
        () = signals::termination_signal() => {}
    }
}

struct Shim<R, W> {
    host: Lines<R>,
    host_state: HostState,
    /// The line of the host's that is too long and has not ended.
    long: LongMessage,
    stdout: W,
    to_host: LineQueue,
    /// When the memory of long lines is given back to the system.
    trim_at: Option<Instant>,
    replay: ReplayState,
    bridge: Bridge,
    liveness: LivenessProbe,
    connector: Connector,
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
    Connected(Box<BridgeConnection>),
    Connecting {
        connecting: ConnectFuture,
        /// Tells it that the host waits.
        start_now: Rc<Notify>,
    },
    /// There is one that does not react: the host is answered, and the bridge waited for.
    Hung {
        problem: Problem,
        waiting: ConnectFuture,
    },
    /// There is none that would serve us.
    Refused(Problem, Instant),
}

/// Everything that can happen.
enum Event {
    HostRead(io::Result<Option<Piece>>),
    HostWritten(io::Result<usize>),
    HostPoll,
    BridgeRead(io::Result<Option<Bytes>>),
    BridgeWritten(io::Result<()>),
    BridgeHung(CallError),
    Connected(Result<Box<BridgeConnection>, ConnectError>),
    Trim,
}

impl Event {
    /// Returns how many bytes were read.
    fn length(&self) -> usize {
        match self {
            Self::HostRead(Ok(Some(Piece::Line(line) | Piece::Part(Part { bytes: line, .. })))) => {
                line.len()
            }
            Self::BridgeRead(Ok(Some(line))) => line.len(),
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
        while !self.is_finished() {
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
            let flushed = tokio::time::timeout(POLL_INTERVAL, self.stdout.flush()).await;
            if flushed.is_ok() || Instant::now() >= until || stdio::stdout_is_closed() {
                return;
            }
        }
    }

    fn is_finished(&self) -> bool {
        match self.host_state {
            HostState::Open => false,
            HostState::Draining { until } => {
                let delivered = self.to_host.is_empty() && !self.replay.has_pending();
                let passed_on = !self.replay.needs_bridge() && !self.bridge.is_sending();
                (delivered && passed_on) || Instant::now() >= until
            }
            HostState::Gone => true,
        }
    }

    /// The bridge comes first: its end must be noticed before more is sent to it.
    async fn event(&mut self) -> Event {
        let has_room = self.to_host.remaining() < MAX_UNREAD;
        let has_answers = !self.to_host.is_empty();
        let is_open = matches!(self.host_state, HostState::Open);
        let awaits_bridge =
            matches!(self.bridge, Bridge::Connected(_)) && self.replay.has_pending();
        tokio::select! {
            biased;
            event = self.bridge.event(has_room) => event,
            written = self.stdout.write_buf(&mut self.to_host), if has_answers => Event::HostWritten(written),
            piece = self.host.next_piece(), if is_open && !self.replay.is_full() => Event::HostRead(piece),
            () = tokio::time::sleep(POLL_INTERVAL), if !is_open => Event::HostPoll,
            () = pause_until(self.trim_at) => Event::Trim,
            hung = self.liveness.bridge_hung(&self.connector), if awaits_bridge => Event::BridgeHung(hung),
        }
    }

    async fn handle(&mut self, event: Event) {
        if matches!(event, Event::BridgeRead(_) | Event::BridgeWritten(_)) {
            self.liveness.reset();
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
            Event::HostRead(Ok(Some(Piece::Line(line)))) => {
                for answer in self.replay.receive_from_host(line) {
                    self.queue_for_host(&answer);
                }
            }
            Event::HostRead(Ok(Some(Piece::Part(Part { bytes, is_last })))) => {
                self.long.read(&bytes);
                if is_last {
                    self.answer_oversized();
                }
            }
            Event::HostRead(Ok(None) | Err(_)) => {
                let until = Instant::now() + DRAIN_TIMEOUT;
                self.host_state = HostState::Draining { until };
            }
            Event::HostWritten(Ok(_)) => {}
            Event::HostWritten(Err(_)) => self.host_state = HostState::Gone,
            Event::HostPoll => {
                if stdio::stdout_is_closed() {
                    self.host_state = HostState::Gone;
                }
            }
            Event::BridgeRead(Ok(Some(line))) if line.first() == Some(&b'#') => {
                self.bridge.handle_control_line(&line);
            }
            Event::BridgeRead(Ok(Some(line))) => self.forward_to_host(line),
            Event::BridgeRead(Ok(None) | Err(_)) => self.bridge_lost(None),
            Event::BridgeHung(hung) => self.bridge_lost(Some(&unavailable(&hung))),
            Event::BridgeWritten(Err(_)) => self.bridge_stopped_reading(),
            Event::BridgeWritten(Ok(())) => {
                if let Some(message) = self.bridge.take_written() {
                    self.replay.mark_sent(&message);
                }
            }
            Event::Connected(Ok(connection)) => {
                self.bridge = Bridge::Connected(connection);
                self.replay.bridge_connected();
            }
            Event::Connected(Err(ConnectError::Refused(problem))) => self.bridge_refused(problem),
            Event::Connected(Err(ConnectError::Hung { problem, waiting })) => {
                stdio::print_error(format_args!("{}: {problem}", self.connector.shown_server()));
                self.bridge = Bridge::Hung { problem, waiting };
            }
        }
        self.advance().await;
    }

    /// Gives the bridge what it is to have next, or sees to it that there is one.
    async fn advance(&mut self) {
        let ended = !matches!(self.host_state, HostState::Open);
        match &mut self.bridge {
            Bridge::Connected(connection) => {
                if connection.sending.is_none() && connection.yielding {
                    connection.half_close().await;
                } else if connection.sending.is_none() && !connection.half_closed {
                    match self.replay.next_to_send() {
                        Some(message) => connection.send(message),
                        None if ended && !self.replay.needs_bridge() => {
                            connection.half_close().await
                        }
                        None => {}
                    }
                }
            }
            Bridge::Connecting { start_now, .. } if self.replay.needs_bridge() => {
                start_now.notify_one()
            }
            Bridge::Refused(problem, since) if self.replay.needs_bridge() => {
                if since.elapsed() < ERROR_LIFETIME {
                    let problem = problem.clone();
                    self.fail_queued(&problem);
                } else {
                    self.connect(DialMode::Start);
                }
            }
            Bridge::Hung { problem, .. } if self.replay.needs_bridge() => {
                for answer in self.replay.answer_queued(problem) {
                    self.queue_for_host(&answer);
                }
            }
            Bridge::Connecting { .. } | Bridge::Hung { .. } | Bridge::Refused(..) => {}
        }
    }

    /// Answers a message that was too long to be kept.
    fn answer_oversized(&mut self) {
        let long = std::mem::take(&mut self.long);
        match self.replay.receive_oversized(long.kind()) {
            Some(answer) => self.queue_for_host(&answer),
            None => stdio::print_error(format_args!(
                "{}: the host's answer is longer than 64 MiB; the server gets an error instead",
                self.connector.shown_server()
            )),
        }
    }

    fn forward_to_host(&mut self, line: Bytes) {
        match self.replay.receive_from_bridge(line) {
            Ok(Some(line)) => self.to_host.push(line),
            Ok(None) => {
                for news in self.replay.take_list_changes() {
                    self.queue_for_host(&news);
                }
            }
            Err(error) => stdio::print_error(format_args!(
                "{}: the bridge said something that is not MCP, which is dropped: {error}",
                self.connector.shown_server()
            )),
        }
    }

    /// A bridge that takes no more may still have answers on their way: its end comes after them.
    fn bridge_stopped_reading(&mut self) {
        let Bridge::Connected(connection) = &mut self.bridge else {
            return;
        };
        connection.half_closed = true;
        match connection.sending.take() {
            Some(sending) if sending.is_untouched() => self.replay.requeue(sending.message),
            Some(sending) => self.replay.mark_sent(&sending.message),
            None => {}
        }
    }

    /// The connection is over: the bridge ended, or hangs.
    fn bridge_lost(&mut self, hung: Option<&Problem>) {
        let Bridge::Connected(connection) = &self.bridge else {
            return;
        };
        let (yielding, half_closed) = (connection.yielding, connection.half_closed);
        self.bridge_stopped_reading();
        for told in self.replay.bridge_lost(hung) {
            self.queue_for_host(&told);
        }
        let ended = !matches!(self.host_state, HostState::Open);
        if ended && half_closed && !yielding {
            // It had everything and answered what it would.
            let problem = Problem::new(
                ProblemKind::Unreachable,
                "the bridge ended without an answer",
            );
            self.fail_queued(&problem.with_hint("try again"));
        }
        self.connect(match (yielding, self.replay.needs_bridge()) {
            (true, _) => DialMode::Successor,
            (false, true) => DialMode::Start,
            (false, false) => DialMode::AttachOnly,
        });
    }

    fn bridge_refused(&mut self, problem: Problem) {
        stdio::print_error(format_args!("{}: {problem}", self.connector.shown_server()));
        self.fail_queued(&problem);
        self.bridge = Bridge::Refused(problem, Instant::now());
    }

    fn fail_queued(&mut self, problem: &Problem) {
        for answer in self.replay.fail_queued(problem) {
            self.queue_for_host(&answer);
        }
    }

    fn connect(&mut self, mode: DialMode) {
        self.bridge = Bridge::connect(self.connector.clone(), mode, self.replay.is_resumed());
    }

    fn queue_for_host(&mut self, message: &Message) {
        self.to_host.push(message.line());
    }
}

impl Bridge {
    fn connect(connector: Connector, mode: DialMode, resumed: bool) -> Self {
        let start_now = Rc::new(Notify::new());
        Self::Connecting {
            connecting: connector.connect(mode, resumed, Rc::clone(&start_now)),
            start_now,
        }
    }

    async fn event(&mut self, has_room: bool) -> Event {
        match self {
            Self::Connected(connection) => connection_event(connection, has_room).await,
            Self::Connecting { connecting, .. } => Event::Connected(connecting.await),
            Self::Hung { waiting, .. } => Event::Connected(waiting.await),
            Self::Refused(..) => pending().await,
        }
    }

    /// The bridge's own words. Those that a newer bridge may have and we do not know mean nothing.
    fn handle_control_line(&mut self, word: &[u8]) {
        if let Self::Connected(connection) = self
            && word == YIELDING.as_bytes()
        {
            connection.yielding = true;
        }
    }

    /// The message that left whole with the last write.
    fn take_written(&mut self) -> Option<Message> {
        let Self::Connected(connection) = self else {
            return None;
        };
        connection
            .sending
            .take_if(|sending| sending.is_done())
            .map(|sending| sending.message)
    }

    fn is_sending(&self) -> bool {
        matches!(self, Self::Connected(connection) if connection.sending.is_some())
    }
}

async fn connection_event(connection: &mut BridgeConnection, has_room: bool) -> Event {
    let BridgeConnection {
        lines,
        writer,
        sending,
        ..
    } = connection;
    let write = async {
        match sending {
            Some(sending) => sending.write(writer).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        line = lines.next(), if has_room => Event::BridgeRead(line),
        written = write => Event::BridgeWritten(written),
    }
}
