//! Finding a bridge, or starting one.
//!
//! Owns: when a bridge is started, when an older one is replaced, how long a newer one is given
//! to appear. Does not own: what is said once the connection stands.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use control::api::{Problem, ProblemKind};
use control::hello::{LONGEST_MESSAGE, Version, Wants};
use control::lines::Lines;
use control::socket::{Face, Reader, Writer};
use control::start::{StartError, StartOptions, ensure_running};
use control::{CallError, Home, open};
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

impl Link {
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
    /// What the host is to be told.
    pub(crate) async fn dial(
        self,
        mut need: Need,
        resumed: bool,
        hurry: Rc<Notify>,
    ) -> Result<Box<Link>, Problem> {
        let end_of_patience = Instant::now() + SUCCESSOR;
        let mut pauses = BACK_OFF.into_iter().map(Duration::from_millis);
        let mut may_replace = true;
        let mut broken = 0;
        let mut started = 0;
        loop {
            let refusal = match self.open(resumed).await {
                Ok((link, version)) => {
                    if !may_replace || !self.is_newer_than(&version) {
                        return Ok(Box::new(link));
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
                (CallError::Problem(problem), _) => return Err(problem),
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
                        .map_err(|error| unavailable(&error))?;
                }
                (CallError::Broken(_), _) if broken < ATTEMPTS => {
                    broken += 1;
                    tokio::time::sleep(pauses.next().unwrap_or(LONGEST)).await;
                }
                (error @ (CallError::NotRunning | CallError::Broken(_)), _) => {
                    return Err(unavailable(&error));
                }
            }
        }
    }

    async fn open(&self, resumed: bool) -> Result<(Link, String), CallError> {
        let wants = Wants::Server {
            server: self.server.clone(),
            host: parent::name(),
            resumed,
        };
        let (lines, writer, welcome) = open(&self.home, Face::Mcp, self.version, wants).await?;
        let link = Link {
            lines: lines.longest(LONGEST_MESSAGE),
            writer,
            sending: None,
            half_closed: false,
            yielding: false,
        };
        Ok((link, welcome.version))
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

fn unavailable(error: &dyn std::error::Error) -> Problem {
    Problem::from_text(ProblemKind::Unreachable, &error.to_string())
}
