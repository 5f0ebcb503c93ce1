//! Two conversations with two servers that are alike: one has nothing between its ends, the other
//! has Postern. Whatever is said must be heard alike in both.

use std::time::Duration;

use axum::body::Bytes;
use tokio::time::timeout;

use super::{
    host::Host,
    message::{Era, Framing, Round, Word},
    server::{Pieces, Server, Taken, accepted, pieces, whole},
};
use crate::harness::bridge::Bridge;

/// Nothing on its way takes longer.
const LONGEST: Duration = Duration::from_secs(10);

/// The transport of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Streamable,
    Sse,
}

/// How a host reaches Postern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Stdio,
    Streamable,
    Sse,
}

/// What lies between a host and a server.
pub(super) struct Way<'a> {
    pub(super) bridge: &'a Bridge,
    /// The name that the bridge knows the server by.
    pub(super) server: &'a str,
    pub(super) face: Face,
}

/// What was heard in a round, in order and whoever heard it.
pub(super) type Heard = Vec<Vec<u8>>;

/// A host and a server. The server is lent: hosts come and go before it.
pub(super) struct Conversation<'a> {
    host: Host,
    server: &'a mut Server,
    transport: Transport,
}

impl<'a> Conversation<'a> {
    /// With nothing in between; and what was said to the handshake.
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
        let conversation = Self {
            host,
            server,
            transport,
        };
        (conversation, greeting)
    }

    /// With Postern in between.
    pub(super) async fn through(
        way: &Way<'_>,
        server: &'a mut Server,
        transport: Transport,
        era: Era,
    ) -> (Self, Option<String>) {
        let state = way.bridge.state().await;
        let shown = state
            .servers
            .iter()
            .find(|shown| shown.name.as_str() == way.server);
        let shown = shown.expect("a server that the bridge knows");
        server.begin();
        let (host, greeting) = match way.face {
            Face::Stdio => Host::stdio(way.bridge, way.server, era).await,
            Face::Streamable => {
                Host::streamable(shown.endpoint.as_ref().expect("a URL"), era).await
            }
            Face::Sse => Host::sse(shown.sse_endpoint.as_ref().expect("a URL")).await,
        };
        let conversation = Self {
            host,
            server,
            transport,
        };
        (conversation, greeting)
    }

    /// Plays a round; what was heard in it, or what never came.
    pub(super) async fn play(&mut self, round: &Round, framing: Framing) -> Result<Heard, String> {
        let mut heard = Heard::new();
        if let Some(told) = &round.told {
            self.host.tell(told).await;
            heard.push(self.take("what the host told").await?);
        }
        if !round.aside.is_empty() {
            let stream = self.stream().await?;
            let plain = Framing::EVENTS;
            self.words(&round.aside, &stream, plain, &mut heard).await?;
        }
        self.host.ask(&round.request).await;
        let taken = self.taken("the request").await?;
        heard.extend(mirrors(&taken));
        heard.push(taken.body.to_vec());
        self.answer(round, framing, taken.respond, &mut heard)
            .await?;
        heard.push(self.hear("the answer").await?);
        Ok(heard)
    }

    /// Says what is no message; what comes back, though it never reaches the server.
    pub(super) async fn babble(&mut self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.host.say(bytes, None).await;
        let refusal = self.hear("a refusal").await?;
        match self.server.has_more() {
            true => Err("the server was told".to_owned()),
            false => Ok(refusal),
        }
    }

    async fn answer(
        &mut self,
        round: &Round,
        framing: Framing,
        respond: tokio::sync::oneshot::Sender<axum::response::Response>,
        heard: &mut Heard,
    ) -> Result<(), String> {
        let gone = |_| "nobody waits for the response".to_owned();
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
            self.words(&round.before, &stream, framing, heard).await?;
            send(&stream, &event(&round.answer, framing), framing);
        }
        Ok(())
    }

    /// The server says these, one after the other, and takes what is said to them.
    async fn words(
        &mut self,
        words: &[Word],
        stream: &Pieces,
        framing: Framing,
        heard: &mut Heard,
    ) -> Result<(), String> {
        for word in words {
            let (Word::Remark(text) | Word::Question { text, .. }) = word;
            send(stream, &event(text, framing), framing);
            heard.push(self.hear("what the server said").await?);
            if let Word::Question { reply, .. } = word {
                self.host.tell(reply).await;
                heard.push(self.take("what the host replied").await?);
            }
        }
        Ok(())
    }

    /// The next message at the server, which wants no answer.
    async fn take(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let taken = self.taken(what).await?;
        let sent = taken.respond.send(accepted());
        sent.map_err(|_| format!("{what}: nobody waits"))?;
        Ok(taken.body.to_vec())
    }

    async fn taken(&mut self, what: &str) -> Result<Taken, String> {
        let server = &mut self.server;
        tokio::select! {
            taken = timeout(LONGEST, server.next()) => taken.map_err(|_| format!("{what} never came")),
            heard = self.host.next() => Err(format!("{what} never came, but this: {}", String::from_utf8_lossy(&heard))),
        }
    }

    async fn stream(&mut self) -> Result<Pieces, String> {
        let stream = timeout(LONGEST, self.server.stream()).await;
        stream.map_err(|_| "nobody listens".to_owned())
    }

    async fn hear(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let heard = timeout(LONGEST, self.host.next()).await;
        heard.map_err(|_| format!("{what} was never heard"))
    }
}

/// What is not as it was without anything in between, if there is such a thing. Line breaks do not
/// count: they mean nothing in JSON, and stdio has none.
pub(super) fn difference(direct: &Heard, through: &Heard) -> Option<String> {
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

/// What a modern request repeats in headers.
fn mirrors(taken: &Taken) -> Vec<Vec<u8>> {
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
        // Whoever is gone is missed where something should have been heard.
        let _ = stream.send(bytes.slice(start..bytes.len().min(start + size)));
    }
}

/// A message as an event, each of its lines on one of its own.
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
