//! Shims on the `mcp` socket. Each line is a message.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control::hello::{ConnectionKind, MAX_LINE, MAX_MESSAGE, YIELDING};
use control::lines::Lines;
use control::socket::{Listener, Reader, Stream, Writer, split};
use mcp::memory::Account;
use mcp::{Message, ParseError, Parsed};
use threads::Turns;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::context::EndpointContext;
use super::intake::{Intake, Received};
use crate::client_hello;
use crate::registry::Server;
use crate::session::{self, HostChannel, HostMessage, SessionKind};
use crate::session_registry::{Listing, SessionRegistry};

/// How long a shim may take to stop sending after the bridge asked it to yield.
const YIELD_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a line is written to a shim that has half-closed, if nothing else is due. A killed
/// shim looks like one that waits for responses until a write fails.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A line that shims ignore.
const PROBE_LINE: &[u8] = b"#";

/// Accepts shims until the socket fails.
pub(crate) async fn serve(
    context: &Arc<EndpointContext>,
    listener: &mut Listener,
) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        tracing::debug!(?peer, "a shim connected");
        let context = Arc::clone(context);
        context.background.clone().spawn(async move {
            if let Err(error) = serve_connection(&context, stream).await {
                tracing::debug!(%error, "a shim's connection broke");
            }
        });
    }
}

async fn serve_connection(context: &Arc<EndpointContext>, stream: Stream) -> io::Result<()> {
    let version = &context.version;
    let (reader, mut writer) = split(stream)?;
    let mut lines = Lines::new(reader, MAX_LINE);
    let Some(hello) = client_hello::receive(&mut lines).await? else {
        return Ok(());
    };
    let ConnectionKind::Server {
        server,
        host,
        resumed,
    } = hello.wants
    else {
        return client_hello::welcome(version, &mut writer, None).await;
    };
    match context.config.server_or_at(&server) {
        Ok(server) => {
            // Logs the name: a URL may contain a secret.
            tracing::info!(server = %server.name, host, resumed, "a host connected");
            client_hello::welcome(version, &mut writer, None).await?;
            relay(context, server, lines.with_max_length(MAX_MESSAGE), writer).await
        }
        Err(problem) => client_hello::welcome(version, &mut writer, Some(problem)).await,
    }
}

async fn relay(
    context: &Arc<EndpointContext>,
    server: Arc<Server>,
    lines: Lines<Reader>,
    writer: Writer,
) -> io::Result<()> {
    let intake = Intake::new(lines, server.name.to_string(), context.from_hosts.account());
    let HostChannel { to, from, memory } =
        session::start(&context.session, server, Listing::Stdio, SessionKind::Host);
    let (own, own_lines) = mpsc::channel(4);
    let reading = read(&context.sessions, intake, to, own);
    let writing = write(from, own_lines, Outlet::new(writer, memory));
    let (read, written) = tokio::join!(reading, writing);
    read.and(written)
}

/// Passes messages from host to session until the shim half-closes. When the bridge yields to a
/// newer one, it tells the shim, which sends what it has begun and half-closes. So nothing is lost
/// in between.
async fn read(
    sessions: &SessionRegistry,
    mut intake: Intake<Reader>,
    to: mpsc::Sender<Message>,
    own: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut yield_sent = false;
    let yield_deadline = tokio::time::sleep(Duration::MAX);
    tokio::pin!(yield_deadline);
    loop {
        let received = tokio::select! {
            received = intake.next() => received?,
            () = sessions.yielding(), if !yield_sent => {
                yield_sent = true;
                yield_deadline.as_mut().reset(Instant::now() + YIELD_TIMEOUT);
                let _ = own.send(Bytes::from_static(YIELDING.as_bytes())).await;
                continue;
            }
            () = &mut yield_deadline, if yield_sent => return Ok(()),
            () = to.closed() => return Ok(()),
        };
        let line = match received {
            Received::Message(line) => line,
            Received::Refused(answer) => {
                if let Some(answer) = answer {
                    let _ = own.send(answer.line()).await;
                }
                continue;
            }
            Received::End => return Ok(()),
        };
        if !pass_on(Parsed::from_host(line), &to, &own).await {
            return Ok(());
        }
    }
}

/// Passes each message of a line to the session, and answers invalid ones. Returns false if the
/// session has ended.
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

/// Passes messages from session to host until the session ends or the shim disconnects. Lines that
/// are ready together are written together.
async fn write<W: AsyncWrite + Unpin>(
    mut from: mpsc::Receiver<HostMessage>,
    mut own_lines: mpsc::Receiver<Bytes>,
    mut outlet: Outlet<W>,
) -> io::Result<()> {
    let mut own_lines_ended = false;
    loop {
        tokio::select! {
            line = own_lines.recv(), if !own_lines_ended => match line {
                Some(line) => outlet.add_line(&line).await?,
                None => own_lines_ended = true,
            },
            message = from.recv() => match message {
                Some(HostMessage { message, .. }) => outlet.add(message).await?,
                None => break,
            },
            () = tokio::time::sleep(PROBE_INTERVAL), if own_lines_ended => {
                outlet.add_line(PROBE_LINE).await?;
            }
        }
        while let Ok(HostMessage { message, .. }) = from.try_recv() {
            outlet.add(message).await?;
            if outlet.batch.len() > MAX_BATCH {
                break;
            }
        }
        outlet.flush().await?;
    }
    outlet.writer.shutdown().await
}

/// The maximum size of one write, roughly, in bytes. Longer messages are not copied.
const MAX_BATCH: usize = 256 * 1024;

/// Writes to a shim.
struct Outlet<W> {
    writer: W,
    batch: Vec<u8>,
    /// The memory of messages to the host.
    memory: Account,
    turns: Turns,
}

impl<W: AsyncWrite + Unpin> Outlet<W> {
    fn new(writer: W, memory: Account) -> Self {
        Self {
            writer,
            batch: Vec::with_capacity(4096),
            memory,
            turns: Turns::default(),
        }
    }

    /// Adds a message as a line. Removes line breaks, which JSON has only between tokens. Searches
    /// long messages piece by piece.
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
            self.turns.turn().await;
            write_piece(&mut self.writer, piece, &self.memory).await?;
            self.turns.moved(piece.len());
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        write_piece(&mut self.writer, &self.batch, &self.memory).await?;
        self.batch.clear();
        Ok(())
    }
}

/// Writes a piece. Fails if the shim reads nothing while others wait for the memory that is stuck
/// here.
async fn write_piece<W: AsyncWrite + Unpin>(
    writer: &mut W,
    piece: &[u8],
    memory: &Account,
) -> io::Result<()> {
    tokio::select! {
        biased;
        written = writer.write_all(piece) => written,
        () = memory.overdue(Instant::now()) => {
            tracing::warn!("a host has read nothing for a minute and others wait for the memory; its connection is closed");
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use mcp::Message;
    use mcp::memory::{Account, Budget};
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::{MAX_BATCH, Outlet, write};
    use crate::session::HostMessage;

    const MIB: usize = 1 << 20;

    /// Creates a message slightly longer than `length`, in memory of the account.
    async fn message(memory: &Account, length: usize) -> Message {
        let text = "x".repeat(length);
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"x","params":["{text}",{}]}}"#,
            "\n".repeat(9)
        );
        let mut reservation = memory.reserve();
        reservation.grow(text.len()).await;
        let text = text.replace(",\n", "\n");
        Message::parse(reservation.own(Bytes::from(text))).expect("a message")
    }

    /// Sends messages of these lengths to a host that has not read them yet.
    async fn host(
        memory: &Account,
        lengths: &[usize],
    ) -> (DuplexStream, JoinHandle<std::io::Result<()>>) {
        let (near, far) = tokio::io::duplex(1000);
        let (to, from) = mpsc::channel(64);
        let (own, own_lines) = mpsc::channel(1);
        for length in lengths {
            let message = message(memory, *length).await;
            let outgoing = HostMessage {
                message,
                request: None,
                sent: None,
            };
            to.send(outgoing).await.expect("room");
        }
        let outlet = Outlet::new(near, memory.clone());
        let writing = tokio::spawn(async move {
            let _own = own;
            write(from, own_lines, outlet).await
        });
        (far, writing)
    }

    #[tokio::test]
    async fn long_messages_go_out_as_lines_in_order() {
        let budget = Budget::default();
        let lengths = [10, MAX_BATCH - 50, 3 * MAX_BATCH, 10, MAX_BATCH, 7];
        let (mut far, writing) = host(&budget.account(), &lengths).await;
        let mut text = String::new();
        far.read_to_string(&mut text).await.expect("text");
        let read: Vec<_> = text
            .lines()
            .map(|line| line.matches('x').count() - 1)
            .collect();
        assert_eq!(read, lengths);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_hosts_are_disconnected_when_others_need_memory() {
        let budget = Budget::default();
        let mut stopped = Vec::new();
        for _ in 0..5 {
            let account = budget.account();
            stopped.push(host(&account, &[14 * MIB, 14 * MIB]).await);
            if budget_is_full(&budget).await {
                break;
            }
        }
        assert!(stopped.iter().all(|(_, writing)| !writing.is_finished()));
        let others = budget.account();
        let small = timeout(Duration::from_millis(1), message(&others, MIB / 2)).await;
        assert!(small.is_ok(), "a message within the floor does not wait");
        drop(small);
        let large = timeout(Duration::from_secs(120), message(&others, 30 * MIB)).await;
        assert!(large.is_ok(), "the stopped hosts were cut");
    }

    /// Returns true if another message would have to wait.
    async fn budget_is_full(budget: &Budget) -> bool {
        let mut probe = [budget.account().reserve(), budget.account().reserve()];
        for reservation in &mut probe {
            let growing = reservation.grow(20 * MIB);
            if timeout(Duration::from_millis(1), growing).await.is_err() {
                return true;
            }
        }
        false
    }
}
