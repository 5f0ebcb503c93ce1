//! `postern connect`: the process that a host spawns. Relays lines between stdio and the bridge.
//!
//! Invariants: stdout carries only MCP. Relayed messages are not changed. Tokens, TLS, the keychain
//! and windows are not used here. The shim does not exit when a bridge ends or a server is unknown,
//! because a host would only start it again.
//!
//! Owns: the event loop. Does not own: the state to replay ([`replay`]), and connecting to a bridge
//! ([`connection`]).

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
use control::hello::{MAX_MESSAGE, YIELDING};
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

/// How many bytes may be queued for the host before reading from the bridge pauses.
const MAX_UNREAD: usize = 64 * 1024;

/// How long to wait for responses after the end of stdin.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// The interval at which the shim checks, after the end of stdin, whether stdout is still read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How long after a long line free memory is returned to the system. By then its buffer is freed
/// ([`Lines`]), and no more long lines follow.
const TRIM_AFTER: Duration = Duration::from_secs(2);

/// How long an error answers further requests before the next request connects again.
const ERROR_LIFETIME: Duration = Duration::from_secs(1);

/// Serves the host on stdin and stdout. Returns on a signal, when the host stops reading, or when
/// stdin has ended and all pending responses are delivered.
pub async fn run(options: Options) {
    limit_free_memory();
    let shim = Shim {
        host: Lines::new(stdio::input(), MAX_MESSAGE),
        host_state: HostState::Open,
        long: LongMessage::default(),
        stdout: stdio::output(),
        to_host: LineQueue::default(),
        trim_at: None,
        replay: ReplayState::new(options.shown_server(), MAX_MESSAGE),
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
    /// The oversized line of the host that has not ended yet.
    long: LongMessage,
    stdout: W,
    to_host: LineQueue,
    /// When the memory of long lines is returned to the system.
    trim_at: Option<Instant>,
    replay: ReplayState,
    bridge: Bridge,
    liveness: LivenessProbe,
    connector: Connector,
}

enum HostState {
    Open,
    /// Stdin ended. Responses are delivered until this deadline.
    Draining {
        until: Instant,
    },
    /// Stdout is closed.
    Gone,
}

enum Bridge {
    Connected(Box<BridgeConnection>),
    Connecting {
        connecting: ConnectFuture,
        /// Notified when the host waits for a bridge.
        start_now: Rc<Notify>,
    },
    /// The bridge does not respond. The host gets errors while the shim waits for the bridge.
    Hung {
        problem: Problem,
        waiting: ConnectFuture,
    },
    /// No bridge serves this shim, since this time.
    Refused(Problem, Instant),
}

/// The events of the loop.
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
    /// Returns the length of the line that was read, or 0.
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

    /// Flushes stdout, which a thread with its own buffer may write. Waits until the deadline for
    /// responses, unless stdout is closed.
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

    /// Waits for the next event. The bridge has priority, because its end must be noticed before more
    /// is sent to it.
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
                // Lines that the host has not read yet are still allocated.
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

    /// Sends the next message to the bridge, or connects to one if messages are queued.
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

    /// Answers an oversized message, of which only the ID is kept.
    fn answer_oversized(&mut self) {
        let long = std::mem::take(&mut self.long);
        match self.replay.receive_oversized(long.kind()) {
            Some(answer) => self.queue_for_host(&answer),
            None => stdio::print_error(format_args!(
                "{}: the host's response is longer than 64 MiB; the server gets an error instead",
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
                "{}: dropped a line from the bridge that is not MCP: {error}",
                self.connector.shown_server()
            )),
        }
    }

    /// Stops writing to the bridge. Reading continues, because its last responses may still arrive.
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

    /// Handles the loss of the connection, because the bridge ended or does not respond.
    fn bridge_lost(&mut self, hung: Option<&Problem>) {
        let Bridge::Connected(connection) = &self.bridge else {
            return;
        };
        let (yielding, half_closed) = (connection.yielding, connection.half_closed);
        self.bridge_stopped_reading();
        for message in self.replay.bridge_lost(hung) {
            self.queue_for_host(&message);
        }
        let ended = !matches!(self.host_state, HostState::Open);
        if ended && half_closed && !yielding {
            // It had received all messages and sent all the responses that it could.
            let problem = Problem::new(
                ProblemKind::Unreachable,
                "the bridge ended without a response",
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

    /// Handles a control line of the bridge. Ignores unknown ones, which a newer bridge may send.
    fn handle_control_line(&mut self, line: &[u8]) {
        if let Self::Connected(connection) = self
            && line == YIELDING.as_bytes()
        {
            connection.yielding = true;
        }
    }

    /// Returns the message that the last write completed, if it did.
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
