//! The hello of a client of the `mcp` or `control` socket, and the bridge's welcome.
//!
//! Owns: the timeout of the hello. Does not own: the messages themselves (`control`), and what
//! follows them.

use std::io;
use std::time::Duration;

use control::api::Problem;
use control::hello::{self, Hello, PROTOCOL, Welcome};
use control::lines::Lines;
use control::socket::{Reader, Writer};

/// How long a client may take for its hello. Ours send it at once. A silent client holds a
/// descriptor that the next host needs.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the first line of a client. Returns `None` if the client closes the connection.
pub(crate) async fn receive(lines: &mut Lines<Reader>) -> io::Result<Option<Hello>> {
    let hello = hello::receive::<Hello, _>(lines);
    tokio::time::timeout(HELLO_TIMEOUT, hello).await?
}

/// Sends the welcome of a bridge of this version.
pub(crate) async fn welcome(
    version: &str,
    writer: &mut Writer,
    problem: Option<Problem>,
) -> io::Result<()> {
    let welcome = Welcome {
        postern: PROTOCOL,
        version: version.to_owned(),
        pid: std::process::id(),
        problem,
    };
    hello::send(writer, &welcome).await
}
