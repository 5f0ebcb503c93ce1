//! The first line on either socket, in both directions.
//!
//! The client says what it is and what it wants; the bridge says what it is, or why not. After
//! that the `mcp` socket carries MCP, one message a line, and the `control` socket carries the
//! [`crate::api`]. Lines that begin with `#` are the bridge's own words to a shim.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::api::Problem;
use crate::lines::Lines;

/// The only version of the sockets' protocol so far.
pub const PROTOCOL: u32 = 1;

/// The longest line on the control socket, in bytes, and of a first line on either.
pub const MAX_LINE: usize = 32 * 1024 * 1024;

/// The longest MCP message, in bytes: on the mcp socket in either direction, and over HTTP.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// What the bridge tells a shim before it makes room for a newer bridge: reconnect, but give the
/// newer one ten seconds to appear before starting one.
pub const YIELDING: &str = "#yielding";

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol, [`PROTOCOL`].
    pub postern: u32,
    /// The client's version.
    pub version: String,
    /// What it wants.
    pub wants: ConnectionKind,
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionKind {
    /// The management API.
    Control {
        /// Whether the client is the desktop app, which shows what needs attention.
        desktop: bool,
    },
    /// MCP with a server.
    Server {
        /// Its name, or its URL for one that is not in the configuration.
        server: String,
        /// The program that spawned the shim, as far as the shim can tell.
        host: Option<String>,
        /// Whether the shim takes an earlier conversation up again.
        resumed: bool,
    },
}

/// What the bridge answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol, [`PROTOCOL`].
    pub postern: u32,
    /// The bridge's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Why it will not do what is wanted; the connection ends.
    pub problem: Option<Problem>,
}

/// Sends one value as a line.
///
/// # Errors
/// The stream's.
pub async fn send<W: AsyncWrite + Unpin>(stream: &mut W, value: &impl Serialize) -> io::Result<()> {
    send_line(stream, &line(value)?).await
}

/// Returns the value as the line that [`send_line`] sends.
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
/// The stream's.
pub async fn send_line<W: AsyncWrite + Unpin>(stream: &mut W, line: &[u8]) -> io::Result<()> {
    stream.write_all(line).await?;
    stream.flush().await
}

/// Receives one value as a line; `None` at the end of the stream.
///
/// # Errors
/// The stream's; `InvalidData` for a line that is not such a value.
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

/// A program's version, `major.minor.patch`; anything behind that is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Reads a version; what cannot be read counts as 0.
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
