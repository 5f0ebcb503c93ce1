//! The hello of a client, and the bridge's response.
//!
//! Owns: how long a bridge may take to respond. The system accepts connections for a stopped process,
//! so a connection alone is no evidence. Does not own: ending a bridge that does not respond
//! ([`crate::end`]).

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::Home;
use crate::error::CallError;
use crate::hello::{self, ConnectionKind, Hello, MAX_LINE, PROTOCOL, Welcome};
use crate::lines::Lines;
use crate::socket::{self, Reader, SocketKind, Stream, Writer};

/// How long a bridge may take to answer a hello. A working bridge takes milliseconds. The margin is for
/// a busy machine, and short enough for a user at a terminal.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// When to probe a bridge from which a message is expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeSchedule {
    /// The delay before the first probe.
    after: Duration,
    /// The interval between probes.
    interval: Duration,
}

impl ProbeSchedule {
    /// While a reply is awaited. Nearly all arrive before the first probe.
    pub(crate) const FOR_REPLY: Self = Self {
        after: Duration::from_millis(250),
        interval: Duration::from_secs(5),
    };

    /// While no reply is awaited: often enough that a user is informed within half a minute, and
    /// seldom enough to be cheap.
    pub(crate) const WHILE_IDLE: Self = Self {
        after: Duration::from_secs(20),
        interval: Duration::from_secs(20),
    };
}

/// The interval between attempts to connect while the system's queue of connections is full.
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
    /// Connects to one of the sockets and sends the hello.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] if no bridge listens, and [`CallError::Hung`] if the system's queue of
    /// connections is full because the bridge accepts none.
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

    /// Waits for the response until [`HELLO_TIMEOUT`] after the start of the connection. Cancel-safe.
    ///
    /// # Errors
    /// [`CallError::Hung`] if there is no response, and the errors of [`Self::welcome`].
    pub async fn welcome_in_time(&mut self) -> Result<Welcome, CallError> {
        let hung = CallError::Hung(self.pid);
        timeout_at(self.deadline, self.welcome())
            .await
            .unwrap_or(Err(hung))
    }

    /// Waits for the response as long as the connection is open. Cancel-safe.
    ///
    /// # Errors
    /// The bridge's problem if it rejects the connection, or an error of the connection.
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

    /// Returns both ends of the connection, for use after the response.
    #[must_use]
    pub fn into_ends(self) -> (Lines<Reader>, Writer) {
        (self.lines, self.writer)
    }
}

/// Probes the bridge until it does not respond, and returns the error. Does not return when the bridge
/// ends, which the caller notices on its connection.
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

/// Checks whether the bridge responds, on a connection that does not appear in its state.
///
/// # Errors
/// [`CallError::Hung`] if it does not respond, and other errors if no bridge accepts clients.
pub async fn probe(home: &Home, version: &str) -> Result<Welcome, CallError> {
    let wants = ConnectionKind::Control { desktop: false };
    let mut greeting = Greeting::send(home, SocketKind::Mcp, version, wants).await?;
    match greeting.welcome_in_time().await {
        Err(CallError::Hung(_)) if is_ending(home).await => Err(CallError::NotRunning),
        answered => answered,
    }
}

/// Returns whether the bridge is shutting down. It then accepts no connections, and has closed its
/// control socket.
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
                // The bridge did not accept the queued connections in time.
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
