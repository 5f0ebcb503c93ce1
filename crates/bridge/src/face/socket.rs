//! Shims: one line a message, over the `mcp` socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::hello::{
    self, Hello, LONGEST_LINE, LONGEST_MESSAGE, PROTOCOL, Wants, Welcome, YIELDING,
};
use control::lines::Lines;
use control::socket::{Listener, Reader, Stream, Writer, split};
use mcp::Message;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::hub::{Hub, Listing};
use crate::registry::Server;
use crate::session::{self, Ends, Manner, ToHost};

/// How long a shim may take to stop sending once the bridge makes room for a newer one.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often a shim that has said its last word is said something, if nothing else is due: one
/// that was killed looks like one that waits for its answers until it is written to.
const PROBE: Duration = Duration::from_secs(1);

/// A word that means nothing to any shim.
const PROBE_WORD: &[u8] = b"#";

/// Takes shims in until the socket breaks.
pub(crate) async fn serve(hub: &Arc<Hub>, listener: &mut Listener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tracing::debug!(?peer, "a shim connected");
        let hub = Arc::clone(hub);
        hub.clone().spawn(async move {
            if let Err(error) = converse(&hub, stream).await {
                tracing::debug!(%error, "a shim's connection broke");
            }
        });
    }
}

async fn converse(hub: &Arc<Hub>, stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = split(stream)?;
    let mut lines = Lines::new(reader, LONGEST_LINE);
    let Some(hello) = hello::receive::<Hello, _>(&mut lines).await? else {
        return Ok(());
    };
    let Wants::Server {
        server,
        host,
        resumed,
    } = hello.wants
    else {
        return welcome(hub, &mut writer, None).await;
    };
    match hub.server_or_at(&server) {
        Ok(server) => {
            // By its name: a URL may carry a secret.
            tracing::info!(server = %server.name, host, resumed, "a host connected");
            welcome(hub, &mut writer, None).await?;
            relay(hub, server, lines.longest(LONGEST_MESSAGE), writer).await
        }
        Err(problem) => welcome(hub, &mut writer, Some(problem)).await,
    }
}

/// Says what this bridge is, on either socket.
pub(crate) async fn welcome(
    hub: &Hub,
    writer: &mut Writer,
    problem: Option<control::api::Problem>,
) -> io::Result<()> {
    let version = hub.options.version.clone();
    hello::send(
        writer,
        &Welcome {
            postern: PROTOCOL,
            version,
            pid: std::process::id(),
            problem,
        },
    )
    .await
}

async fn relay(
    hub: &Arc<Hub>,
    server: Arc<Server>,
    lines: Lines<Reader>,
    writer: Writer,
) -> io::Result<()> {
    let Ends { to, from } = session::start(hub, server, Listing::Stdio, Manner::Host);
    let (own, own_words) = mpsc::channel(4);
    let reading = read(hub, lines, to, own);
    let writing = write(from, own_words, writer);
    let (read, written) = tokio::join!(reading, writing);
    read.and(written)
}

/// Host to session, until the shim half-closes. When the bridge makes room for a newer one, the
/// shim is told, sends what it has begun, and half-closes: nothing is lost in between.
async fn read(
    hub: &Hub,
    mut lines: Lines<Reader>,
    to: mpsc::Sender<Message>,
    own: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut told = false;
    let farewell = tokio::time::sleep(Duration::MAX);
    tokio::pin!(farewell);
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            () = hub.yielding.cancelled(), if !told => {
                told = true;
                farewell.as_mut().reset(Instant::now() + FAREWELL);
                let _ = own.send(Bytes::from_static(YIELDING.as_bytes())).await;
                continue;
            }
            () = &mut farewell, if told => return Ok(()),
            () = to.closed() => return Ok(()),
        };
        let Some(line) = line else { return Ok(()) };
        match Message::parse(line) {
            Ok(message) => {
                if to.send(message).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                let _ = own.send(error.to_response().line()).await;
            }
        }
    }
}

/// Session to host, until the session ends or nobody reads. Lines that are ready together go out
/// together.
async fn write(
    mut from: mpsc::Receiver<ToHost>,
    mut own_words: mpsc::Receiver<Bytes>,
    mut writer: Writer,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(4096);
    let mut is_last_word_said = false;
    loop {
        tokio::select! {
            line = own_words.recv(), if !is_last_word_said => match line {
                Some(line) => add(&mut batch, &line),
                None => is_last_word_said = true,
            },
            message = from.recv() => match message {
                Some(ToHost { message, .. }) => add(&mut batch, &message.line()),
                None => break,
            },
            () = tokio::time::sleep(PROBE), if is_last_word_said => add(&mut batch, PROBE_WORD),
        }
        while let Ok(ToHost { message, .. }) = from.try_recv() {
            add(&mut batch, &message.line());
            if batch.len() > 256 * 1024 {
                break;
            }
        }
        writer.write_all(&batch).await?;
        batch.clear();
        batch.shrink_to(1024 * 1024);
    }
    writer.shutdown().await
}

fn add(batch: &mut Vec<u8>, line: &[u8]) {
    batch.extend_from_slice(line);
    batch.push(b'\n');
}
