//! A client of the management API: one connection, one call after the other.

use std::io;

use serde::{Deserialize, Serialize};

use crate::Home;
use crate::api::{Problem, Reply, Request, State};
use crate::hello::{self, Hello, LONGEST_LINE, PROTOCOL, Wants, Welcome};
use crate::lines::Lines;
use crate::socket::{self, Face, Reader, Writer};

/// One answer on the control socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It went well.
    Ok(Reply),
    /// It did not.
    Problem(Problem),
}

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No bridge runs.
    #[error(
        "the bridge does not run; hint: `postern bridge` starts it, and so do the desktop app and any host"
    )]
    NotRunning,
    /// The bridge is there and says no.
    #[error("{0}")]
    Problem(Problem),
    /// The connection broke.
    #[error("the connection to the bridge broke: {0}; hint: try again")]
    Broken(io::Error),
}

/// A connection to the bridge's management API.
#[derive(Debug)]
pub struct Client {
    lines: Lines<Reader>,
    writer: Writer,
    welcome: Welcome,
}

impl Client {
    /// Connects, as the command line or as the desktop app.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] where nothing listens.
    pub async fn connect(home: &Home, version: &str, desktop: bool) -> Result<Self, CallError> {
        let wants = Wants::Control { desktop };
        let (lines, writer, welcome) = open(home, Face::Control, version, wants).await?;
        Ok(Self {
            lines,
            writer,
            welcome,
        })
    }

    /// What the bridge said of itself.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Makes one call and waits for its reply. Dropping the future leaves the connection in the
    /// middle of a call: connect anew.
    ///
    /// # Errors
    /// What the bridge says, or the connection's.
    pub async fn call(&mut self, request: &Request) -> Result<Reply, CallError> {
        hello::send(&mut self.writer, request)
            .await
            .map_err(CallError::Broken)?;
        self.answer().await
    }

    /// Follows the state, from now on.
    ///
    /// # Errors
    /// The connection's.
    pub async fn watch(mut self) -> Result<Watch, CallError> {
        hello::send(&mut self.writer, &Request::Watch)
            .await
            .map_err(CallError::Broken)?;
        Ok(Watch(self))
    }

    async fn answer(&mut self) -> Result<Reply, CallError> {
        let ended = || CallError::Broken(io::ErrorKind::UnexpectedEof.into());
        match hello::receive(&mut self.lines)
            .await
            .map_err(CallError::Broken)?
        {
            Some(Answer::Ok(reply)) => Ok(reply),
            Some(Answer::Problem(problem)) => Err(CallError::Problem(problem)),
            None => Err(ended()),
        }
    }
}

/// The state, now and after every change.
#[derive(Debug)]
pub struct Watch(Client);

impl Watch {
    /// The next state. Cancel-safe.
    ///
    /// # Errors
    /// The connection's, when the bridge ends.
    pub async fn next(&mut self) -> Result<State, CallError> {
        loop {
            if let Reply::State(state) = self.0.answer().await? {
                return Ok(*state);
            }
        }
    }
}

/// Connects to one of the sockets and shakes hands.
///
/// # Errors
/// [`CallError::NotRunning`] where nothing listens; the bridge's own words if it refuses.
pub async fn open(
    home: &Home,
    face: Face,
    version: &str,
    wants: Wants,
) -> Result<(Lines<Reader>, Writer, Welcome), CallError> {
    let stream = socket::connect(home, face)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
            _ => CallError::Broken(error),
        })?;
    let (reader, mut writer) = socket::split(stream).map_err(CallError::Broken)?;
    let mut lines = Lines::new(reader, LONGEST_LINE);
    let hello = Hello {
        postern: PROTOCOL,
        version: version.to_owned(),
        wants,
    };
    hello::send(&mut writer, &hello)
        .await
        .map_err(CallError::Broken)?;
    let welcome: Option<Welcome> = hello::receive(&mut lines)
        .await
        .map_err(CallError::Broken)?;
    match welcome {
        Some(Welcome {
            problem: Some(problem),
            ..
        }) => Err(CallError::Problem(problem)),
        Some(welcome) => Ok((lines, writer, welcome)),
        None => Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
    }
}
