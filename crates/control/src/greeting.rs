//! The hello of a client, and the bridge's answer to it.
//!
//! Owns: how long a bridge may take to react. The system accepts connections for a process that is
//! stopped, so a connection alone says nothing. Does not own: what is done about a bridge that does
//! not react ([`crate::end`]).

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::Home;
use crate::error::CallError;
use crate::hello::{self, ConnectionKind, Hello, MAX_LINE, PROTOCOL, Welcome};
use crate::lines::Lines;
use crate::socket::{self, Reader, SocketKind, Stream, Writer};

/// How long a bridge may take to answer a hello. One that reacts takes milliseconds; this leaves
/// room for a busy machine, and is what a user still waits for at a terminal.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// When it is looked whether a bridge reacts that something is expected of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSchedule {
    /// How long it may take first.
    after: Duration,
    /// How long after one look the next follows.
    interval: Duration,
}

impl ProbeSchedule {
    /// While an answer is awaited. Nearly all are there before the first look.
    pub(crate) const FOR_REPLY: Self = Self {
        after: Duration::from_millis(250),
        interval: Duration::from_secs(5),
    };

    /// While there is nothing to say: often enough that a user is told within half a minute, and
    /// so rarely that it costs nothing.
    pub(crate) const WHILE_IDLE: Self = Self {
        after: Duration::from_secs(20),
        interval: Duration::from_secs(20),
    };
}

/// How long after a connection that the system had no room for the next is tried.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// A connection whose hello has not been answered yet.
#[derive(Debug)]
pub struct Greeting {
    lines: Lines<Reader>,
    writer: Writer,
    pid: Option<u32>,
    deadline: Instant,
}

impl Greeting {
    /// Connects to one of the sockets and says hello.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] where nothing listens, [`CallError::Hung`] where the system takes
    /// no more connections for the bridge, because it accepts none.
    pub async fn send(
        home: &Home,
        kind: SocketKind,
        version: &str,
        wants: ConnectionKind,
    ) -> Result<Self, CallError> {
        let deadline = Instant::now() + HELLO_TIMEOUT;
        let stream = connect(home, kind, deadline).await?;
        let pid = socket::server_process(&stream);
        let (reader, mut writer) = socket::split(stream).map_err(CallError::Broken)?;
        let hello = Hello {
            postern: PROTOCOL,
            version: version.to_owned(),
            wants,
        };
        timeout_at(deadline, hello::send(&mut writer, &hello))
            .await
            .map_err(|_| CallError::Hung(pid))?
            .map_err(CallError::Broken)?;
        Ok(Self {
            lines: Lines::new(reader, MAX_LINE),
            writer,
            pid,
            deadline,
        })
    }

    /// Waits for the answer until [`HELLO_TIMEOUT`] after the connection was begun. Cancel-safe.
    ///
    /// # Errors
    /// [`CallError::Hung`] if there is none; the others of [`Self::welcome`].
    pub async fn welcome_in_time(&mut self) -> Result<Welcome, CallError> {
        let hung = CallError::Hung(self.pid);
        timeout_at(self.deadline, self.welcome())
            .await
            .unwrap_or(Err(hung))
    }

    /// Waits for the answer for as long as the connection stands. Cancel-safe.
    ///
    /// # Errors
    /// The bridge's own words if it refuses, or the connection's.
    pub async fn welcome(&mut self) -> Result<Welcome, CallError> {
        let welcome: Option<Welcome> = hello::receive(&mut self.lines)
            .await
            .map_err(CallError::Broken)?;
        match welcome {
            Some(Welcome {
                problem: Some(problem),
                ..
            }) => Err(CallError::Problem(problem)),
            Some(welcome) => Ok(welcome),
            None => Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Returns both ends, once the hello was answered.
    #[must_use]
    pub fn into_ends(self) -> (Lines<Reader>, Writer) {
        (self.lines, self.writer)
    }
}

/// Returns once the bridge does not react any more. Does not return when the bridge ends: the
/// connection that the caller waits on tells that.
pub(crate) async fn wait_until_hung(
    home: &Home,
    version: &str,
    schedule: ProbeSchedule,
) -> CallError {
    sleep(schedule.after).await;
    loop {
        if let Err(hung @ CallError::Hung(_)) = probe(home, version).await {
            return hung;
        }
        sleep(schedule.interval).await;
    }
}

/// Looks whether the bridge reacts, on a connection that it lists nowhere.
///
/// # Errors
/// [`CallError::Hung`] if it does not; the others say that none takes clients.
pub async fn probe(home: &Home, version: &str) -> Result<Welcome, CallError> {
    let wants = ConnectionKind::Control { desktop: false };
    let mut greeting = Greeting::send(home, SocketKind::Mcp, version, wants).await?;
    match greeting.welcome_in_time().await {
        Err(CallError::Hung(_)) if is_ending(home).await => Err(CallError::NotRunning),
        answered => answered,
    }
}

/// Returns whether the bridge is about to end. It accepts no connection then, and has closed its control
/// socket before.
pub async fn is_ending(home: &Home) -> bool {
    match socket::connect(home, SocketKind::Control).await {
        Ok(_) => false,
        Err(error) => socket::is_absent(&error),
    }
}

async fn connect(home: &Home, kind: SocketKind, deadline: Instant) -> Result<Stream, CallError> {
    loop {
        match socket::connect(home, kind).await {
            Ok(stream) => return Ok(stream),
            Err(error) if socket::is_absent(&error) => return Err(CallError::NotRunning),
            Err(error) => match error.kind() {
                // Those that wait already are not accepted any more.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    if Instant::now() >= deadline =>
                {
                    return Err(CallError::Hung(None));
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => sleep(RETRY_INTERVAL).await,
                _ => return Err(CallError::Broken(error)),
            },
        }
    }
}
