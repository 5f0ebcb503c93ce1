//! The faults of a response.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::{UpstreamState, http::Connection};

/// The fault of a call. The server carries out every call except for [`Fault::Forgotten`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The connection ends after `at` bytes of the response, head included. No fault if the
    /// response is shorter.
    Cut { form: Form, at: usize },
    /// The connection is reset after `at` bytes.
    Reset { form: Form, at: usize },
    /// The response arrives byte by byte.
    Drip(Form),
    /// The response arrives twice.
    Twice,
    /// The response is not HTTP.
    Noise,
    /// The response is an HTML page.
    Page,
    /// The response is only a status.
    Status(u16),
    /// Events of `bytes` bytes arrive before the response.
    Flood { events: u32, bytes: usize },
    /// The response is JSON of more than `bytes` bytes.
    Large { bytes: usize },
    /// No response ever arrives.
    Silence,
    /// The host gets a request first. This only delays the response.
    RequestFirst(ServerRequest),
    /// The session is unknown. The call is carried out only when it is repeated.
    Forgotten,
}

/// A request that a server sends to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerRequest {
    Elicitation,
    Sampling,
    Roots,
}

/// The form of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// JSON with `content-length`.
    Json,
    /// JSON in one chunk.
    Chunk,
    /// JSON until the connection closes.
    Bare,
    /// Events.
    Events,
    /// Events with ids: a cut stream can be resumed.
    NamedEvents,
}

impl Fault {
    /// No fault.
    pub(crate) const NONE: Self = Self::whole(Form::Json);

    pub(crate) const fn whole(form: Form) -> Self {
        let at = usize::MAX;
        Self::Cut { form, at }
    }
}

/// What the server does about a request.
pub(super) enum Reaction {
    /// Sends the bytes and waits for the next request.
    Reply(Vec<u8>),
    /// Sends the bytes and closes the connection.
    Last(Vec<u8>),
    /// Sends the bytes and resets the connection.
    Reset(Vec<u8>),
    /// Sends the bytes one by one and closes the connection.
    Drip(Vec<u8>),
    /// Sends a request with this id, waits for the host's response, and sends the answer. Gives up
    /// when the session ends.
    Ask {
        id: String,
        session: String,
        question: Vec<u8>,
        answer: Vec<u8>,
    },
    /// Sends `head`, `event` that many times, and `end`, and closes the connection.
    Flood {
        head: Vec<u8>,
        event: Vec<u8>,
        events: u32,
        end: Vec<u8>,
    },
    /// Sends the bytes and keeps the stream open until all streams are cut.
    Stream(Vec<u8>),
    /// Sends nothing.
    Hold,
}

/// Performs the reaction. Returns true if the connection stays open.
pub(super) async fn carry_out(
    reaction: Reaction,
    connection: &mut Connection,
    state: &Arc<watch::Sender<UpstreamState>>,
) -> bool {
    match reaction {
        Reaction::Reply(bytes) => return connection.send(&bytes).await,
        Reaction::Last(bytes) => {
            connection.send(&bytes).await;
        }
        Reaction::Reset(bytes) => {
            connection.send(&bytes).await;
            connection.reset();
        }
        Reaction::Drip(bytes) => {
            for byte in bytes {
                connection.send(&[byte]).await;
                tokio::task::yield_now().await;
            }
        }
        Reaction::Ask {
            id,
            session,
            question,
            answer,
        } => {
            let mut news = state.subscribe();
            connection.send(&question).await;
            let over = |state: &UpstreamState| {
                state.replies.contains_key(&id) || !state.sessions.contains(&session)
            };
            tokio::select! {
                _ = news.wait_for(over) => {}
                () = connection.hung_up() => {}
            }
            if state.borrow().replies.contains_key(&id) {
                connection.send(&answer).await;
            }
        }
        Reaction::Flood {
            head,
            event,
            events,
            end,
        } => {
            connection.send(&head).await;
            for _ in 0..events {
                if !connection.send(&event).await {
                    break;
                }
                state.send_modify(|state| state.flooded += 1);
            }
            connection.send(&end).await;
        }
        Reaction::Stream(head) => {
            let cuts = state.borrow().cuts;
            let mut news = state.subscribe();
            connection.send(&head).await;
            tokio::select! {
                _ = news.wait_for(|state| state.cuts > cuts) => {}
                () = connection.hung_up() => {}
            }
        }
        Reaction::Hold => {
            let _held = Held::new(state);
            connection.hung_up().await;
        }
    }
    false
}

/// Counts a request without a response.
struct Held(Arc<watch::Sender<UpstreamState>>);

impl Held {
    fn new(state: &Arc<watch::Sender<UpstreamState>>) -> Self {
        state.send_modify(|state| state.held += 1);
        Self(Arc::clone(state))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.held -= 1);
    }
}

impl Fault {
    /// Returns the reaction. `body` is the regular response, and `name` identifies the call's
    /// stream.
    pub(super) fn reaction(self, body: &str, name: &str, session: &str) -> Reaction {
        match self {
            Self::Cut { form, at } => {
                let response = form.response(body, name);
                match response.get(..at) {
                    Some(part) if part.len() < response.len() => Reaction::Last(part.to_vec()),
                    Some(_) | None if form.ends_with_connection() => Reaction::Last(response),
                    Some(_) | None => Reaction::Reply(response),
                }
            }
            Self::Reset { form, at } => {
                let mut response = form.response(body, name);
                response.truncate(at);
                Reaction::Reset(response)
            }
            Self::Drip(form) => Reaction::Drip(form.response(body, name)),
            Self::Twice => Reaction::Last(events(&format!("data: {body}\n\ndata: {body}\n\n"))),
            Self::Noise => Reaction::Last(b"\x16\x03\x01 what is this?\r\n\r\n".to_vec()),
            Self::Page => Reaction::Reply(response(200, "text/html", "<h1>Welcome</h1>")),
            Self::Status(status) => Reaction::Reply(response(status, "text/plain", "no")),
            Self::Flood {
                events: count,
                bytes,
            } => Reaction::Flood {
                head: events(""),
                event: large_event(bytes),
                events: count,
                end: format!("data: {body}\n\n").into_bytes(),
            },
            Self::Large { bytes } => {
                // Insignificant whitespace, which a parser must still read.
                let blanks = " ".repeat(bytes);
                Reaction::Reply(json(&format!("{blanks}{body}")))
            }
            Self::Silence => Reaction::Hold,
            Self::RequestFirst(question) => {
                let id = format!("about {name}");
                let method = question.method();
                let asked = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": {} });
                Reaction::Ask {
                    id,
                    session: session.to_owned(),
                    question: events(&format!("data: {asked}\n\n")),
                    answer: format!("data: {body}\n\n").into_bytes(),
                }
            }
            // The call is repeated: the session is known now.
            Self::Forgotten => Reaction::Reply(json(body)),
        }
    }
}

impl ServerRequest {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }
}

impl Form {
    fn response(self, body: &str, name: &str) -> Vec<u8> {
        match self {
            Self::Json => json(body),
            Self::Chunk => format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            )
            .into_bytes(),
            Self::Bare => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                            connection: close\r\n\r\n";
                format!("{head}{body}").into_bytes()
            }
            Self::Events => events(&format!("{}data: {body}\n\n", remark(""))),
            Self::NamedEvents => events(&format!(
                "id: {name}\nretry: 50\ndata:\n\n{}id: {name}\ndata: {body}\n\n",
                remark(&format!("id: {name}\n"))
            )),
        }
    }

    fn ends_with_connection(self) -> bool {
        match self {
            Self::Json | Self::Chunk => false,
            Self::Bare | Self::Events | Self::NamedEvents => true,
        }
    }
}

/// Returns an event that is not a response.
fn remark(id: &str) -> String {
    format!("{id}data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/said\"}}\n\n")
}

/// Returns a notification of slightly more than `bytes` bytes.
pub(super) fn large_event(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes);
    format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\
         \"params\":{{\"level\":\"info\",\"data\":\"{text}\"}}}}\n\n"
    )
    .into_bytes()
}

/// Returns a stream that ends with its connection.
pub(super) fn events(text: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    format!("{head}{text}").into_bytes()
}

pub(super) fn json(body: &str) -> Vec<u8> {
    response(200, "application/json", body)
}

pub(super) fn response(status: u16, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} It\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
