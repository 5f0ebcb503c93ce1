//! Two sessions with identical servers, one direct and one through Postern. Both must receive the
//! same messages.

use std::time::Duration;

use axum::body::Bytes;
use tokio::time::timeout;

use super::{
    host::Host,
    message::{Era, Framing, Round, ServerMessage},
    server::{Pieces, ReceivedMessage, Server, accepted, pieces, whole},
};
use crate::harness::bridge::Bridge;

/// The timeout of every step.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The transport of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Streamable,
    Sse,
}

/// The transport from a host to Postern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostTransport {
    Stdio,
    Streamable,
    Sse,
}

/// The route from a host to a server.
pub(super) struct Route<'a> {
    pub(super) bridge: &'a Bridge,
    /// The name of the server in the bridge.
    pub(super) server: &'a str,
    pub(super) host_transport: HostTransport,
}

/// The messages of a round, in order of their arrival at either end.
pub(super) type Received = Vec<Vec<u8>>;

/// A host and a server. The server is borrowed, because several hosts use it in turn.
pub(super) struct Session<'a> {
    host: Host,
    server: &'a mut Server,
    transport: Transport,
}

impl<'a> Session<'a> {
    /// Opens a direct session. Also returns the response to the handshake.
    pub(super) async fn direct(
        server: &'a mut Server,
        transport: Transport,
        era: Era,
    ) -> (Self, Option<String>) {
        let address = server.address();
        let (host, greeting) = match transport {
            Transport::Streamable => Host::streamable(&format!("http://{address}/mcp"), era).await,
            Transport::Sse => Host::sse(&format!("http://{address}/sse")).await,
        };
        let session = Self {
            host,
            server,
            transport,
        };
        (session, greeting)
    }

    /// Opens a session through Postern.
    pub(super) async fn relayed(
        route: &Route<'_>,
        server: &'a mut Server,
        transport: Transport,
        era: Era,
    ) -> (Self, Option<String>) {
        let state = route.bridge.state().await;
        let shown = state
            .servers
            .iter()
            .find(|shown| shown.name.as_str() == route.server);
        let shown = shown.expect("a server that the bridge knows");
        server.begin();
        let (host, greeting) = match route.host_transport {
            HostTransport::Stdio => Host::stdio(route.bridge, route.server, era).await,
            HostTransport::Streamable => {
                Host::streamable(shown.endpoint.as_ref().expect("a URL"), era).await
            }
            HostTransport::Sse => Host::sse(shown.sse_endpoint.as_ref().expect("a URL")).await,
        };
        let session = Self {
            host,
            server,
            transport,
        };
        (session, greeting)
    }

    /// Plays a round. Returns the received messages, or which one did not arrive.
    pub(super) async fn play(
        &mut self,
        round: &Round,
        framing: Framing,
    ) -> Result<Received, String> {
        let mut heard = Received::new();
        if let Some(told) = &round.told {
            self.host.send(told).await;
            heard.push(self.take("what the host told").await?);
        }
        if !round.aside.is_empty() {
            let stream = self.stream().await?;
            let plain = Framing::EVENTS;
            self.send_messages(&round.aside, &stream, plain, &mut heard)
                .await?;
        }
        self.host.send_request(&round.request).await;
        let taken = self.taken("the request").await?;
        heard.extend(mirrored_headers(&taken));
        heard.push(taken.body.to_vec());
        self.respond(round, framing, taken.respond, &mut heard)
            .await?;
        heard.push(self.hear("the answer").await?);
        Ok(heard)
    }

    /// Sends invalid bytes and returns the error response. Fails if the server received them.
    pub(super) async fn send_invalid(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.host.send_raw(bytes, None).await;
        let refusal = self.hear("a refusal").await?;
        match self.server.has_more() {
            true => Err("the server was told".to_owned()),
            false => Ok(refusal),
        }
    }

    async fn respond(
        &mut self,
        round: &Round,
        framing: Framing,
        respond: tokio::sync::oneshot::Sender<axum::response::Response>,
        heard: &mut Received,
    ) -> Result<(), String> {
        let gone = |_| "the response was not awaited".to_owned();
        let on_stream = match (self.transport, framing.events) {
            (Transport::Sse, _) => {
                respond.send(accepted()).map_err(gone)?;
                Some(self.stream().await?)
            }
            (Transport::Streamable, true) => {
                let (stream, response) = pieces("text/event-stream");
                respond.send(response).map_err(gone)?;
                Some(stream)
            }
            (Transport::Streamable, false) => {
                respond.send(plain(&round.answer, framing)).map_err(gone)?;
                None
            }
        };
        if let Some(stream) = on_stream {
            self.send_messages(&round.before, &stream, framing, heard)
                .await?;
            send(&stream, &event(&round.answer, framing), framing);
        }
        Ok(())
    }

    /// Sends messages from the server and receives the responses to its requests.
    async fn send_messages(
        &mut self,
        messages: &[ServerMessage],
        stream: &Pieces,
        framing: Framing,
        heard: &mut Received,
    ) -> Result<(), String> {
        for message in messages {
            let (ServerMessage::Notification(text) | ServerMessage::Request { text, .. }) = message;
            send(stream, &event(text, framing), framing);
            heard.push(self.hear("what the server said").await?);
            if let ServerMessage::Request { reply, .. } = message {
                self.host.send(reply).await;
                heard.push(self.take("what the host replied").await?);
            }
        }
        Ok(())
    }

    /// Returns the next message at the server and accepts it with 202.
    async fn take(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let taken = self.taken(what).await?;
        let sent = taken.respond.send(accepted());
        sent.map_err(|_| format!("{what}: the response was not awaited"))?;
        Ok(taken.body.to_vec())
    }

    async fn taken(&mut self, what: &str) -> Result<ReceivedMessage, String> {
        let server = &mut self.server;
        tokio::select! {
            taken = timeout(TIMEOUT, server.next()) => taken.map_err(|_| format!("{what} never came")),
            heard = self.host.next() => Err(format!("{what} never came, but this: {}", String::from_utf8_lossy(&heard))),
        }
    }

    async fn stream(&mut self) -> Result<Pieces, String> {
        let stream = timeout(TIMEOUT, self.server.stream()).await;
        stream.map_err(|_| "no stream is open".to_owned())
    }

    async fn hear(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let heard = timeout(TIMEOUT, self.host.next()).await;
        heard.map_err(|_| format!("{what} was never heard"))
    }
}

/// Returns the first difference, or `None`. Ignores line breaks, which are insignificant in JSON
/// and do not exist on stdio.
pub(super) fn difference(direct: &Received, through: &Received) -> Option<String> {
    let bare = |bytes: &[u8]| -> Vec<u8> {
        let kept = bytes.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'));
        kept.copied().collect()
    };
    if direct.len() != through.len() {
        return Some("more is in headers, or less".to_owned());
    }
    let mut pairs = direct.iter().zip(through);
    let (one, other) = pairs.find(|(one, other)| one != other && bare(one) != bare(other))?;
    let shown = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.chars().take(2000).collect::<String>()
    };
    Some(format!(
        "direct:  {}\nthrough: {}",
        shown(one),
        shown(other)
    ))
}

/// Returns the mirrored headers of a modern request.
fn mirrored_headers(taken: &ReceivedMessage) -> Vec<Vec<u8>> {
    let names = ["mcp-method", "mcp-name", "mcp-protocol-version"];
    if !taken.headers.contains_key(names[0]) {
        return Vec::new();
    }
    let values = names.map(|name| taken.headers.get(name));
    let values = values.into_iter().flatten();
    values.map(|value| value.as_bytes().to_vec()).collect()
}

fn plain(text: &str, framing: Framing) -> axum::response::Response {
    let kind = "application/json";
    if framing.pieces.is_none() {
        return whole(kind, Bytes::copy_from_slice(text.as_bytes()));
    }
    let (stream, response) = pieces(kind);
    send(&stream, text, framing);
    response
}

fn send(stream: &Pieces, text: &str, framing: Framing) {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let size = framing.pieces.unwrap_or(bytes.len()).max(1);
    for start in (0..bytes.len()).step_by(size) {
        // If the receiver is gone, the missing message fails the case.
        let _ = stream.send(bytes.slice(start..bytes.len().min(start + size)));
    }
}

/// Returns a message as an event with one `data` line per line.
fn event(text: &str, framing: Framing) -> String {
    let end = framing.line_end;
    let lines = text.replace("\r\n", "\n");
    let lines = lines
        .split(['\n', '\r'])
        .map(|line| format!("data: {line}{end}"));
    format!(
        ": remark{end}event: message{end}{}{end}",
        lines.collect::<String>()
    )
}
