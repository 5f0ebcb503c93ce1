//! Connecting to the bridge, or starting one.
//!
//! Owns: when a bridge is started, when an older one is replaced, and how long to wait for a newer
//! one. Does not own: the messages on the connection.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use control::api::{Problem, ProblemKind};
use control::hello::{ConnectionKind, MAX_MESSAGE, Version};
use control::lines::Lines;
use control::socket::{Reader, SocketKind, Writer};
use control::start::{StartError, StartOptions, ensure_running};
use control::{CallError, Greeting, Home};
use mcp::Message;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{parent, stdio};

/// The idle timeout of a bridge that a shim starts.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// How long to wait for the bridge that replaces another one.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval between attempts to connect to a bridge that another process starts.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The pauses between attempts in milliseconds. Then follows [`MAX_PAUSE`].
const BACK_OFF: [u64; 7] = [50, 100, 200, 400, 800, 1600, 5000];

/// The longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How many times in a row a connection may break, or a bridge be started, before the host gets an
/// error.
const MAX_ATTEMPTS: usize = 5;

/// Connects to the bridge for one server.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The folders with the bridge's sockets.
    pub home: Home,
    /// The path of `postern`, which starts a bridge.
    pub program: PathBuf,
    /// The shim's version. An older bridge is replaced.
    pub version: &'static str,
    /// The server's name or URL.
    pub server: String,
}

/// Whether to start a bridge if none runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DialMode {
    /// Start a bridge if none runs, because the host waits.
    Start,
    /// Give the bridge that replaces the last one time to listen, then start one.
    Successor,
    /// Wait for a bridge that another process starts, because the host waits for nothing. A bridge
    /// that the user ended is not restarted.
    AttachOnly,
}

/// A pending connection attempt.
pub(crate) type ConnectFuture =
    Pin<Box<dyn Future<Output = Result<Box<BridgeConnection>, ConnectError>>>>;

/// Why there is no connection.
pub(crate) enum ConnectError {
    /// No bridge serves this shim, for this reason. The next request of the host connects again.
    Refused(Problem),
    /// A bridge has the sockets and does not respond.
    Hung {
        /// The error for the host meanwhile.
        problem: Problem,
        /// Continues to wait for this bridge, or for the one that replaces it.
        waiting: ConnectFuture,
    },
}

/// A connection to a bridge.
#[derive(Debug)]
pub(crate) struct BridgeConnection {
    pub(crate) lines: Lines<Reader>,
    pub(crate) writer: Writer,
    /// The message that is being written.
    pub(crate) sending: Option<Sending>,
    /// Whether the shim closed its side. The bridge then answers its pending requests, and closes.
    pub(crate) half_closed: bool,
    /// Whether the bridge announced that it yields to a newer one.
    pub(crate) yielding: bool,
}

/// A message that is being written, with its line feed.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) message: Message,
    line: Bytes,
    length: usize,
}

/// The outcome of opening a connection.
enum Opened {
    /// It is established, with a bridge of this version.
    Connected(Box<BridgeConnection>, String),
    /// The bridge did not respond in time.
    Hung(Box<Greeting>, CallError),
}

impl BridgeConnection {
    fn over(greeting: Greeting) -> Box<Self> {
        let (lines, writer) = greeting.into_ends();
        Box::new(Self {
            lines: lines.with_max_length(MAX_MESSAGE),
            writer,
            sending: None,
            half_closed: false,
            yielding: false,
        })
    }

    /// Starts to write a message.
    pub(crate) fn send(&mut self, message: Message) {
        let mut line = BytesMut::with_capacity(message.bytes().len() + 1);
        line.extend_from_slice(message.bytes());
        line.extend_from_slice(b"\n");
        self.sending = Some(Sending {
            message,
            length: line.len(),
            line: line.freeze(),
        });
    }

    /// Closes the shim's side, unless it is closed.
    pub(crate) async fn half_close(&mut self) {
        if !self.half_closed {
            self.half_closed = true;
            // The reader notices a broken connection.
            let _ = self.writer.shutdown().await;
        }
    }
}

impl Sending {
    /// Writes a part of the line. Cancel-safe.
    pub(crate) async fn write(&mut self, writer: &mut Writer) -> io::Result<()> {
        match writer.write_buf(&mut self.line).await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        !self.line.has_remaining()
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.line.remaining() == self.length
    }
}

impl Connector {
    /// Returns the server as shown in messages: without secrets, which a URL may contain.
    pub(crate) fn shown_server(&self) -> &str {
        model::shown_url(&self.server)
    }

    /// Connects to the running bridge for this shim's server, or starts one. A notification of
    /// `start_now` turns [`DialMode::AttachOnly`] into [`DialMode::Start`].
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(crate) fn connect(
        self,
        mode: DialMode,
        resumed: bool,
        start_now: Rc<Notify>,
    ) -> ConnectFuture {
        Box::pin(self.search(mode, resumed, start_now))
    }

    async fn search(
        self,
        mut mode: DialMode,
        resumed: bool,
        start_now: Rc<Notify>,
    ) -> Result<Box<BridgeConnection>, ConnectError> {
        let deadline = Instant::now() + SUCCESSOR_TIMEOUT;
        let mut pauses = BACK_OFF.into_iter().map(Duration::from_millis);
        let mut may_replace = true;
        let mut broken = 0;
        let mut started = 0;
        loop {
            let error = match self.open(resumed).await {
                Ok(Opened::Hung(greeting, hung)) => {
                    return Err(ConnectError::Hung {
                        problem: unavailable(&hung),
                        waiting: Box::pin(self.wait_for(*greeting, resumed, start_now)),
                    });
                }
                Ok(Opened::Connected(connection, version)) => {
                    if !may_replace || !self.is_newer_than(&version) {
                        return Ok(connection);
                    }
                    may_replace = false;
                    drop(connection);
                    if let Err(error) = self.start(true).await {
                        stdio::print_error(format_args!(
                            "the older bridge {version} is not replaced: {error}"
                        ));
                    }
                    continue;
                }
                Err(error) => error,
            };
            match (error, mode) {
                (CallError::Problem(problem), _) => return Err(ConnectError::Refused(problem)),
                (_, DialMode::AttachOnly) => {
                    let pause = tokio::time::sleep(pauses.next().unwrap_or(MAX_PAUSE));
                    tokio::select! {
                        () = pause => {}
                        () = start_now.notified() => mode = DialMode::Start,
                    }
                }
                (CallError::NotRunning, DialMode::Successor) if Instant::now() < deadline => {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                (CallError::NotRunning, _) if started < MAX_ATTEMPTS => {
                    started += 1;
                    self.start(false)
                        .await
                        .map_err(|error| ConnectError::Refused(unavailable(&error)))?;
                }
                (CallError::Broken(_), _) if broken < MAX_ATTEMPTS => {
                    broken += 1;
                    tokio::time::sleep(pauses.next().unwrap_or(MAX_PAUSE)).await;
                }
                (
                    error @ (CallError::NotRunning | CallError::Broken(_) | CallError::Hung(_)),
                    _,
                ) => {
                    return Err(ConnectError::Refused(unavailable(&error)));
                }
            }
        }
    }

    async fn open(&self, resumed: bool) -> Result<Opened, CallError> {
        let wants = ConnectionKind::Server {
            server: self.server.clone(),
            host: parent::name(),
            resumed,
        };
        let mut greeting = Greeting::send(&self.home, SocketKind::Mcp, self.version, wants).await?;
        let welcome = match greeting.welcome_in_time().await {
            // The bridge is shutting down, and this connection ends with it.
            Err(CallError::Hung(_)) if control::is_ending(&self.home).await => {
                greeting.welcome().await?
            }
            Err(hung @ CallError::Hung(_)) => return Ok(Opened::Hung(Box::new(greeting), hung)),
            answered => answered?,
        };
        Ok(Opened::Connected(
            BridgeConnection::over(greeting),
            welcome.version,
        ))
    }

    /// Waits until the bridge responds after all. If it ends, waits for its successor, because a user
    /// replaces a bridge that does not respond.
    async fn wait_for(
        self,
        mut greeting: Greeting,
        resumed: bool,
        start_now: Rc<Notify>,
    ) -> Result<Box<BridgeConnection>, ConnectError> {
        match greeting.welcome().await {
            Ok(_) => Ok(BridgeConnection::over(greeting)),
            Err(CallError::Problem(problem)) => Err(ConnectError::Refused(problem)),
            Err(CallError::NotRunning | CallError::Broken(_) | CallError::Hung(_)) => {
                self.connect(DialMode::Successor, resumed, start_now).await
            }
        }
    }

    async fn start(&self, replace_older: bool) -> Result<(), StartError> {
        let options = StartOptions {
            idle_exit: Some(IDLE_TIMEOUT),
            replace_older,
        };
        ensure_running(&self.home, &self.program, &options).await
    }

    fn is_newer_than(&self, version: &str) -> bool {
        Version::parse(self.version) > Version::parse(version)
    }
}

/// Returns the problem for the host if there is no bridge.
pub(crate) fn unavailable(error: &dyn std::error::Error) -> Problem {
    Problem::from_text(ProblemKind::Unreachable, &error.to_string())
}
