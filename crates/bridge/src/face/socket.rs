//! Shims: one line a message, over the `mcp` socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::hello::{self, LONGEST_LINE, LONGEST_MESSAGE, PROTOCOL, Wants, Welcome, YIELDING};
use control::lines::Lines;
use control::socket::{Listener, Reader, Stream, Writer, split};
use mcp::memory::Account;
use mcp::{Message, ParseError, Parsed};
use tokio::io::{AsyncWrite, AsyncWriteExt};
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
    let Some(hello) = super::hello(&mut lines).await? else {
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
    let Ends { to, from, memory } = session::start(hub, server, Listing::Stdio, Manner::Host);
    let (own, own_words) = mpsc::channel(4);
    let reading = read(hub, lines, to, own);
    let writing = write(from, own_words, Outlet::new(writer, memory));
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
        if !pass_on(Parsed::from_host(line), &to, &own).await {
            return Ok(());
        }
    }
}

/// Gives the session each message of a line, and answers what is none. Returns false if the session
/// has ended.
async fn pass_on(
    parsed: Result<Parsed, ParseError>,
    to: &mpsc::Sender<Message>,
    own: &mpsc::Sender<Bytes>,
) -> bool {
    let batch = match parsed {
        Ok(Parsed::Message(message)) => return to.send(message).await.is_ok(),
        Ok(Parsed::Batch(batch)) => batch,
        Err(error) => {
            let _ = own.send(error.to_response().line()).await;
            return true;
        }
    };
    for element in batch {
        match element {
            Ok(message) => {
                if to.send(message).await.is_err() {
                    return false;
                }
            }
            Err(invalid) => {
                let _ = own.send(invalid.to_response().line()).await;
            }
        }
    }
    true
}

/// Session to host, until the session ends or nobody reads. Lines that are ready together go out
/// together.
async fn write<W: AsyncWrite + Unpin>(
    mut from: mpsc::Receiver<ToHost>,
    mut own_words: mpsc::Receiver<Bytes>,
    mut outlet: Outlet<W>,
) -> io::Result<()> {
    let mut is_last_word_said = false;
    loop {
        tokio::select! {
            line = own_words.recv(), if !is_last_word_said => match line {
                Some(line) => outlet.add_line(&line).await?,
                None => is_last_word_said = true,
            },
            message = from.recv() => match message {
                Some(ToHost { message, .. }) => outlet.add(message).await?,
                None => break,
            },
            () = tokio::time::sleep(PROBE), if is_last_word_said => {
                outlet.add_line(PROBE_WORD).await?;
            }
        }
        while let Ok(ToHost { message, .. }) = from.try_recv() {
            outlet.add(message).await?;
            if outlet.batch.len() > MAX_BATCH {
                break;
            }
        }
        outlet.flush().await?;
    }
    outlet.writer.shutdown().await
}

/// What goes out at once, in bytes, roughly. What is longer is not copied.
const MAX_BATCH: usize = 256 * 1024;

/// The way to a shim.
struct Outlet<W> {
    writer: W,
    batch: Vec<u8>,
    /// What the messages to the host take memory from.
    memory: Account,
}

impl<W: AsyncWrite + Unpin> Outlet<W> {
    fn new(writer: W, memory: Account) -> Self {
        Self {
            writer,
            batch: Vec::with_capacity(4096),
            memory,
        }
    }

    /// Adds a message as a line: without line breaks, which JSON has between its tokens alone. A
    /// long one is searched for them piece by piece.
    async fn add(&mut self, message: Message) -> io::Result<()> {
        for mut piece in message.bytes().chunks(MAX_BATCH) {
            while let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
                self.add_part(&piece[..end]).await?;
                piece = &piece[end + 1..];
            }
            self.add_part(piece).await?;
        }
        self.batch.push(b'\n');
        Ok(())
    }

    async fn add_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.add_part(line).await?;
        self.batch.push(b'\n');
        Ok(())
    }

    async fn add_part(&mut self, part: &[u8]) -> io::Result<()> {
        if self.batch.len() + part.len() <= MAX_BATCH {
            self.batch.extend_from_slice(part);
            return Ok(());
        }
        self.flush().await?;
        for piece in part.chunks(MAX_BATCH) {
            write_piece(&mut self.writer, piece, &self.memory).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        write_piece(&mut self.writer, &self.batch, &self.memory).await?;
        self.batch.clear();
        Ok(())
    }
}

/// Writes what a shim takes, and breaks off where it takes nothing and others wait for the memory
/// that is stuck here.
async fn write_piece<W: AsyncWrite + Unpin>(
    writer: &mut W,
    piece: &[u8],
    memory: &Account,
) -> io::Result<()> {
    tokio::select! {
        biased;
        written = writer.write_all(piece) => written,
        () = memory.outstayed(Instant::now()) => {
            tracing::warn!("a host has taken nothing for a minute and others wait for the memory; its connection is closed");
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}
