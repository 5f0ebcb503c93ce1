//! Finding a bridge, or starting one.
//!
//! Owns: when a bridge is started, when an older one is replaced, how long a newer one is given
//! to appear. Does not own: what is said once the connection stands.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use control::api::{Problem, ProblemKind};
use control::hello::{LONGEST_MESSAGE, Version, Wants};
use control::lines::Lines;
use control::socket::{Face, Reader, Writer};
use control::start::{StartError, StartOptions, ensure_running};
use control::{CallError, Greeting, Home};
use mcp::Message;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{parent, stdio};

/// How long a bridge that a shim started stays without anybody to serve.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// How long the bridge that another one made room for is waited for.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a bridge is looked for that somebody else starts.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The pauses between attempts; the last one repeats while nobody needs the bridge.
const BACK_OFF: [u64; 7] = [50, 100, 200, 400, 800, 1600, 5000];

/// How often in a row a connection may break or a bridge be started before the host is told.
const MAX_ATTEMPTS: usize = 5;

/// What is dialled, and with what.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Where the bridge's sockets lie.
    pub home: Home,
    /// The command line, which starts a bridge.
    pub program: PathBuf,
    /// Our version: a bridge that is older is replaced.
    pub version: &'static str,
    /// The server's name or its address.
    pub server: String,
}

/// Why a bridge is dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DialMode {
    /// The host waits: start a bridge if none runs.
    Start,
    /// The last bridge made room for a newer one: give that one time to appear.
    Successor,
    /// The host waits for nothing: take up with a bridge that somebody else starts. So a bridge
    /// that its user ended is not raised from the dead.
    AttachOnly,
}

/// The search for a bridge.
pub(crate) type ConnectFuture =
    Pin<Box<dyn Future<Output = Result<Box<BridgeConnection>, ConnectError>>>>;

/// Why there is no connection.
pub(crate) enum ConnectError {
    /// No bridge serves this shim: what the host is to be told. It is dialled again when the host
    /// asks for something.
    Refused(Problem),
    /// A bridge has the sockets and does not react.
    Hung {
        /// What the host is to be told meanwhile.
        problem: Problem,
        /// Goes on waiting for it, or for the one that replaces it.
        waiting: ConnectFuture,
    },
}

/// A connection to a bridge.
#[derive(Debug)]
pub(crate) struct BridgeConnection {
    pub(crate) lines: Lines<Reader>,
    pub(crate) writer: Writer,
    /// What is on its way.
    pub(crate) sending: Option<Sending>,
    /// Whether our side is closed: the bridge answers what it owes, and ends.
    pub(crate) half_closed: bool,
    /// Whether the bridge said that it makes room for a newer one.
    pub(crate) yielding: bool,
}

/// A message on its way, with its line end.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) message: Message,
    line: Bytes,
    length: usize,
}

/// What came of a connection.
enum Opened {
    /// It stands; with the bridge's version.
    Connected(Box<BridgeConnection>, String),
    /// Nothing was said on it in time.
    Hung(Box<Greeting>, CallError),
}

impl BridgeConnection {
    fn over(greeting: Greeting) -> Box<Self> {
        let (lines, writer) = greeting.into_ends();
        Box::new(Self {
            lines: lines.longest(LONGEST_MESSAGE),
            writer,
            sending: None,
            half_closed: false,
            yielding: false,
        })
    }

    /// Puts a message on its way.
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

    /// Ends our side once.
    pub(crate) async fn half_close(&mut self) {
        if !self.half_closed {
            self.half_closed = true;
            // A connection that is broken already is noticed by reading.
            let _ = self.writer.shutdown().await;
        }
    }
}

impl Sending {
    /// Writes some of it. Cancel-safe.
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
    /// The server in messages: an address may carry a password or a key.
    pub(crate) fn shown_server(&self) -> &str {
        model::shown_url(&self.server)
    }

    /// Connects to the running bridge, or one that it starts, for this shim's server. `start_now`
    /// turns [`DialMode::AttachOnly`] into [`DialMode::Start`].
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
            let refusal = match self.open(resumed).await {
                Ok(Opened::Hung(greeting, hung)) => {
                    return Err(ConnectError::Hung {
                        problem: unavailable(&hung),
                        waiting: Box::pin(self.wait_for(*greeting, resumed, start_now)),
                    });
                }
                Ok(Opened::Connected(link, version)) => {
                    if !may_replace || !self.is_newer_than(&version) {
                        return Ok(link);
                    }
                    may_replace = false;
                    drop(link);
                    if let Err(error) = self.start(true).await {
                        stdio::print_error(format_args!(
                            "the older bridge {version} stays: {error}"
                        ));
                    }
                    continue;
                }
                Err(refusal) => refusal,
            };
            match (refusal, mode) {
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
        let wants = Wants::Server {
            server: self.server.clone(),
            host: parent::name(),
            resumed,
        };
        let mut greeting = Greeting::send(&self.home, Face::Mcp, self.version, wants).await?;
        let welcome = match greeting.welcome_in_time().await {
            // This connection ends with it.
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

    /// Waits until the bridge reacts after all. Where it ends, another one is to be expected: a
    /// bridge that does not react is replaced.
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
        Version::of(self.version) > Version::of(version)
    }
}

const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What the host is told of a bridge that cannot be had.
pub(crate) fn unavailable(error: &dyn std::error::Error) -> Problem {
    Problem::from_text(ProblemKind::Unreachable, &error.to_string())
}
