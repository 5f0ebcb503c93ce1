//! A client of the management API: one connection with sequential calls.

use std::future;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::Home;
use crate::api::{Problem, Reply, Request, State};
use crate::error::CallError;
use crate::greeting::{Greeting, ProbeSchedule, wait_until_hung};
use crate::hello::{self, ConnectionKind, Welcome};
use crate::lines::Lines;
use crate::socket::{Reader, SocketKind, Writer};

/// How long a bridge may take to return its state, for which it waits only for its own files.
const STATE_TIMEOUT: Duration = Duration::from_secs(5);

/// One response on the control socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlResponse {
    /// The request succeeded.
    Ok(Reply),
    /// The request failed.
    Problem(Problem),
}

/// A connection to the bridge's management API.
#[derive(Debug)]
pub struct Client {
    home: Home,
    version: String,
    lines: Lines<Reader>,
    writer: Writer,
    welcome: Welcome,
}

impl Client {
    /// Connects as the command line, or as the desktop app.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] if no bridge listens, and [`CallError::Hung`] if it does not respond
    /// within [`HELLO_TIMEOUT`](crate::HELLO_TIMEOUT).
    pub async fn connect(home: &Home, version: &str, desktop: bool) -> Result<Self, CallError> {
        let wants = ConnectionKind::Control { desktop };
        let (lines, writer, welcome) = open(home, SocketKind::Control, version, wants).await?;
        Ok(Self {
            home: home.clone(),
            version: version.to_owned(),
            lines,
            writer,
            welcome,
        })
    }

    /// Returns the bridge's version and process.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a request and waits for its reply as long as the bridge responds to probes. The state must
    /// arrive within 5 seconds. After the future is dropped, the connection cannot be used any more.
    ///
    /// # Errors
    /// The bridge's problem, an error of the connection, or [`CallError::Hung`] if the bridge stops
    /// responding.
    pub async fn call(&mut self, request: &Request) -> Result<Reply, CallError> {
        let exchange = async {
            hello::send(&mut self.writer, request)
                .await
                .map_err(CallError::Broken)?;
            receive_reply(&mut self.lines).await
        };
        let pid = match request {
            Request::Status => Some(self.welcome.pid),
            _ => None,
        };
        tokio::select! {
            biased;
            reply = exchange => reply,
            hung = wait_until_hung(&self.home, &self.version, ProbeSchedule::FOR_REPLY) => Err(hung),
            hung = wait_for_state_timeout(pid) => Err(hung),
        }
    }

    /// Subscribes to the state.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn watch(mut self) -> Result<Watch, CallError> {
        hello::send(&mut self.writer, &Request::Watch)
            .await
            .map_err(CallError::Broken)?;
        Ok(Watch {
            client: self,
            has_state: false,
        })
    }
}

/// Waits until the state is overdue. Never returns if `pid` is `None`, because no state is awaited.
async fn wait_for_state_timeout(pid: Option<u32>) -> CallError {
    match pid {
        Some(pid) => {
            sleep(STATE_TIMEOUT).await;
            CallError::Hung(Some(pid))
        }
        None => future::pending().await,
    }
}

async fn receive_reply(lines: &mut Lines<Reader>) -> Result<Reply, CallError> {
    let ended = || CallError::Broken(io::ErrorKind::UnexpectedEof.into());
    match hello::receive(lines).await.map_err(CallError::Broken)? {
        Some(ControlResponse::Ok(reply)) => Ok(reply),
        Some(ControlResponse::Problem(problem)) => Err(CallError::Problem(problem)),
        None => Err(ended()),
    }
}

/// A subscription to the state.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    /// Whether the first state has been received, which is the reply to the request.
    has_state: bool,
}

impl Watch {
    /// Waits for the next state. Cancel-safe.
    ///
    /// # Errors
    /// An error of the connection when the bridge ends, and [`CallError::Hung`] while it does not
    /// respond.
    pub async fn next(&mut self) -> Result<State, CallError> {
        let Client {
            home,
            version,
            lines,
            welcome,
            ..
        } = &mut self.client;
        let (schedule, pid) = match self.has_state {
            true => (ProbeSchedule::WHILE_IDLE, None),
            false => (ProbeSchedule::FOR_REPLY, Some(welcome.pid)),
        };
        let reply = async {
            loop {
                if let Reply::State(state) = receive_reply(lines).await? {
                    return Ok(*state);
                }
            }
        };
        let state = tokio::select! {
            biased;
            state = reply => state?,
            hung = wait_until_hung(home, version, schedule) => return Err(hung),
            hung = wait_for_state_timeout(pid) => return Err(hung),
        };
        self.has_state = true;
        Ok(state)
    }
}

/// Connects to one of the sockets and exchanges the hello.
///
/// # Errors
/// [`CallError::NotRunning`] if no bridge listens, [`CallError::Hung`] if it does not respond, and the
/// bridge's problem if it rejects the connection.
pub async fn open(
    home: &Home,
    kind: SocketKind,
    version: &str,
    wants: ConnectionKind,
) -> Result<(Lines<Reader>, Writer, Welcome), CallError> {
    let mut greeting = Greeting::send(home, kind, version, wants).await?;
    let welcome = greeting.welcome_in_time().await?;
    let (lines, writer) = greeting.into_ends();
    Ok((lines, writer, welcome))
}

#[cfg(test)]
mod tests {
    use super::{CallError, Client};
    use crate::Home;
    use crate::api::Request;
    use crate::hello::{self, Hello, MAX_LINE, PROTOCOL, Welcome};
    use crate::lines::Lines;
    use crate::socket::{self, Listener};

    /// Runs a bridge that answers each hello and no requests.
    async fn greet(mut listener: Listener) {
        let mut greeted = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = socket::split(stream).unwrap();
            let mut lines = Lines::new(reader, MAX_LINE);
            let _: Option<Hello> = hello::receive(&mut lines).await.unwrap();
            let welcome = Welcome {
                postern: PROTOCOL,
                version: "0".to_owned(),
                pid: 7,
                problem: None,
            };
            hello::send(&mut writer, &welcome).await.unwrap();
            greeted.push((lines, writer));
        }
    }

    #[tokio::test]
    async fn bridge_that_returns_no_state_is_hung() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let (mcp, control) = Listener::bind(&home).unwrap();
        tokio::spawn(greet(mcp));
        tokio::spawn(greet(control));
        let connect = || Client::connect(&home, "0", false);
        let mut client = connect().await.unwrap();
        let mut watch = connect().await.unwrap().watch().await.unwrap();
        let (status, state) = tokio::join!(client.call(&Request::Status), watch.next());
        assert!(
            matches!(status, Err(CallError::Hung(Some(7)))),
            "{status:?}"
        );
        assert!(matches!(state, Err(CallError::Hung(Some(7)))), "{state:?}");
    }
}
