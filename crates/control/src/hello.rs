//! The hello: the first line in each direction on the `mcp` and the `control` socket.
//!
//! The client sends its version and the kind of the connection. The bridge responds with its version,
//! or a problem. After that, the `mcp` socket carries MCP with one message per line, and the `control`
//! socket carries the [`crate::api`]. Lines that begin with `#` are control lines from the bridge to a
//! shim.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::api::Problem;
use crate::lines::Lines;

/// The version of the sockets' protocol.
pub const PROTOCOL: u32 = 1;

/// The maximum length of a line on the control socket, and of a hello, in bytes.
pub const MAX_LINE: usize = 32 * 1024 * 1024;

/// The maximum length of an MCP message on the mcp socket and over HTTP, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The control line with which a bridge announces that it yields to a newer one. The shim then
/// reconnects, and waits ten seconds for the newer bridge before it starts one.
pub const YIELDING: &str = "#yielding";

/// The first line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol, [`PROTOCOL`].
    pub postern: u32,
    /// The client's version.
    pub version: String,
    /// The kind of the connection.
    pub wants: ConnectionKind,
}

/// The purpose of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionKind {
    /// The management API.
    Control {
        /// Whether the client is the desktop app, which shows notifications.
        desktop: bool,
    },
    /// MCP with a server.
    Server {
        /// The server's name, or its URL if it is not configured.
        server: String,
        /// The program that spawned the shim, if known.
        host: Option<String>,
        /// Whether the shim resumes a session of an earlier bridge.
        resumed: bool,
    },
}

/// The first line of the bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol, [`PROTOCOL`].
    pub postern: u32,
    /// The bridge's version.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// Why the bridge rejects the connection, which then ends.
    pub problem: Option<Problem>,
}

/// Sends a value as a line.
///
/// # Errors
/// Errors of the stream.
pub async fn send<W: AsyncWrite + Unpin>(stream: &mut W, value: &impl Serialize) -> io::Result<()> {
    send_line(stream, &line(value)?).await
}

/// Serialises a value as a line for [`send_line`].
///
/// # Errors
/// If the value cannot be serialised.
pub fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends a [`line`].
///
/// # Errors
/// Errors of the stream.
pub async fn send_line<W: AsyncWrite + Unpin>(stream: &mut W, line: &[u8]) -> io::Result<()> {
    stream.write_all(line).await?;
    stream.flush().await
}

/// Receives a value as a line. Returns `None` at the end of the stream.
///
/// # Errors
/// Errors of the stream, and `InvalidData` if the line is not such a value.
pub async fn receive<T, R>(lines: &mut Lines<R>) -> io::Result<Option<T>>
where
    T: for<'de> Deserialize<'de>,
    R: AsyncRead + Unpin,
{
    match lines.next().await? {
        Some(line) => Ok(Some(serde_json::from_slice(&line)?)),
        None => Ok(None),
    }
}

/// A version, `major.minor.patch`. Anything after that is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Parses a version. Parts that are missing or not numeric are 0.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut numbers = text
            .split(['.', '-', '+'])
            .map(|part| part.parse().unwrap_or(0))
            .chain(std::iter::repeat(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("0.10.0") > Version::parse("0.9.9"));
        assert!(Version::parse("1.0.0-rc.1") > Version::parse("0.99"));
        assert_eq!(Version::parse("0.1.0"), Version::parse("0.1.0+abc"));
    }
}
