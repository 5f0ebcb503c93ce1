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
pub const IDLE_EXIT: Duration = Duration::from_secs(10 * 60);

/// How long the bridge that another one made room for is waited for.
const SUCCESSOR: Duration = Duration::from_secs(10);

/// How often a bridge is looked for that somebody else starts.
const LOOK: Duration = Duration::from_millis(50);

/// The pauses between attempts; the last one repeats while nobody needs the bridge.
const BACK_OFF: [u64; 7] = [50, 100, 200, 400, 800, 1600, 5000];

/// How often in a row a connection may break or a bridge be started before the host is told.
const ATTEMPTS: usize = 5;

/// What is dialled, and with what.
#[derive(Clone, Debug)]
pub struct Dialler {
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
pub(crate) enum Need {
    /// The host waits: start a bridge if none runs.
    Now,
    /// The last bridge made room for a newer one: give that one time to appear.
    Successor,
    /// The host waits for nothing: take up with a bridge that somebody else starts. So a bridge
    /// that its user ended is not raised from the dead.
    WhenThere,
}

/// The search for a bridge.
pub(crate) type Dialling = Pin<Box<dyn Future<Output = Result<Box<Link>, NoLink>>>>;

/// Why there is no connection.
pub(crate) enum NoLink {
    /// No bridge serves this shim: what the host is to be told. It is dialled again when the host
    /// asks for something.
    Refused(Problem),
    /// A bridge has the sockets and does not react.
    Hung {
        /// What the host is to be told meanwhile.
        problem: Problem,
        /// Goes on waiting for it, or for the one that replaces it.
        waiting: Dialling,
    },
}

/// A connection to a bridge.
#[derive(Debug)]
pub(crate) struct Link {
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
    Link(Box<Link>, String),
    /// Nothing was said on it in time.
    Hung(Box<Greeting>, CallError),
}

impl Link {
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

impl Dialler {
    /// The server in messages: an address may carry a password or a key.
    pub(crate) fn shown_server(&self) -> &str {
        model::shown_url(&self.server)
    }

    /// Connects to the running bridge, or one that it starts, for this shim's server. `hurry`
    /// turns [`Need::WhenThere`] into [`Need::Now`].
    ///
    /// # Errors
    /// See [`NoLink`].
    pub(crate) fn dial(self, need: Need, resumed: bool, hurry: Rc<Notify>) -> Dialling {
        Box::pin(self.search(need, resumed, hurry))
    }

    async fn search(
        self,
        mut need: Need,
        resumed: bool,
        hurry: Rc<Notify>,
    ) -> Result<Box<Link>, NoLink> {
        let end_of_patience = Instant::now() + SUCCESSOR;
        let mut pauses = BACK_OFF.into_iter().map(Duration::from_millis);
        let mut may_replace = true;
        let mut broken = 0;
        let mut started = 0;
        loop {
            let refusal = match self.open(resumed).await {
                Ok(Opened::Hung(greeting, hung)) => {
                    return Err(NoLink::Hung {
                        problem: unavailable(&hung),
                        waiting: Box::pin(self.wait_for(*greeting, resumed, hurry)),
                    });
                }
                Ok(Opened::Link(link, version)) => {
                    if !may_replace || !self.is_newer_than(&version) {
                        return Ok(link);
                    }
                    may_replace = false;
                    drop(link);
                    if let Err(error) = self.start(true).await {
                        stdio::complain(format_args!("the older bridge {version} stays: {error}"));
                    }
                    continue;
                }
                Err(refusal) => refusal,
            };
            match (refusal, need) {
                (CallError::Problem(problem), _) => return Err(NoLink::Refused(problem)),
                (_, Need::WhenThere) => {
                    let pause = tokio::time::sleep(pauses.next().unwrap_or(LONGEST));
                    tokio::select! {
                        () = pause => {}
                        () = hurry.notified() => need = Need::Now,
                    }
                }
                (CallError::NotRunning, Need::Successor) if Instant::now() < end_of_patience => {
                    tokio::time::sleep(LOOK).await;
                }
                (CallError::NotRunning, _) if started < ATTEMPTS => {
                    started += 1;
                    self.start(false)
                        .await
                        .map_err(|error| NoLink::Refused(unavailable(&error)))?;
                }
                (CallError::Broken(_), _) if broken < ATTEMPTS => {
                    broken += 1;
                    tokio::time::sleep(pauses.next().unwrap_or(LONGEST)).await;
                }
                (
                    error @ (CallError::NotRunning | CallError::Broken(_) | CallError::Hung(_)),
                    _,
                ) => {
                    return Err(NoLink::Refused(unavailable(&error)));
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
        Ok(Opened::Link(Link::over(greeting), welcome.version))
    }

    /// Waits until the bridge reacts after all. Where it ends, another one is to be expected: a
    /// bridge that does not react is replaced.
    async fn wait_for(
        self,
        mut greeting: Greeting,
        resumed: bool,
        hurry: Rc<Notify>,
    ) -> Result<Box<Link>, NoLink> {
        match greeting.welcome().await {
            Ok(_) => Ok(Link::over(greeting)),
            Err(CallError::Problem(problem)) => Err(NoLink::Refused(problem)),
            Err(CallError::NotRunning | CallError::Broken(_) | CallError::Hung(_)) => {
                self.dial(Need::Successor, resumed, hurry).await
            }
        }
    }

    async fn start(&self, replace_older: bool) -> Result<(), StartError> {
        let options = StartOptions {
            idle_exit: Some(IDLE_EXIT),
            replace_older,
        };
        ensure_running(&self.home, &self.program, &options).await
    }

    fn is_newer_than(&self, version: &str) -> bool {
        Version::of(self.version) > Version::of(version)
    }
}

const LONGEST: Duration = Duration::from_secs(5);

/// What the host is told of a bridge that cannot be had.
pub(crate) fn unavailable(error: &dyn std::error::Error) -> Problem {
    Problem::from_text(ProblemKind::Unreachable, &error.to_string())
}
