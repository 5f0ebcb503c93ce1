//! What goes wrong with an answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::{Seen, http::Connection};

/// What befalls a call. It is carried out, if that is the word, in any case but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the response, its head included; that is no
    /// fault where the response is no longer.
    Cut { form: Form, at: usize },
    /// The same by a reset.
    Reset { form: Form, at: usize },
    /// The response comes byte by byte.
    Drip(Form),
    /// The answer comes twice.
    Twice,
    /// Something comes that is not HTTP.
    Noise,
    /// A page for people comes.
    Page,
    /// A status and nothing else comes.
    Status(u16),
    /// So many events of so many bytes come before the answer.
    Flood { events: u32, bytes: usize },
    /// An answer of so many bytes and more comes as JSON.
    Large { bytes: usize },
    /// Nothing comes, ever.
    Silence,
    /// The host is asked something first. That is no fault, but a way of being slow.
    Asks(Question),
    /// The session is gone: the call is not carried out, unless it comes again.
    Forgotten,
}

/// What a server asks a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    Elicitation,
    Sampling,
    Roots,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// JSON of a length that is told.
    Json,
    /// JSON in a chunk.
    Chunk,
    /// JSON up to the end of the connection.
    Bare,
    /// Events.
    Events,
    /// Events with ids: what is cut can be asked for.
    NamedEvents,
}

impl Fault {
    /// Nothing goes wrong.
    pub(crate) const NONE: Self = Self::whole(Form::Json);

    pub(crate) const fn whole(form: Form) -> Self {
        let at = usize::MAX;
        Self::Cut { form, at }
    }
}

/// What the server does about a request.
pub(super) enum Reaction {
    /// Sends this, and waits for the next request.
    Reply(Vec<u8>),
    /// Sends this, and ends the connection.
    Last(Vec<u8>),
    /// Sends this, and breaks the connection.
    Reset(Vec<u8>),
    /// Sends this byte by byte, and ends the connection.
    Drip(Vec<u8>),
    /// Sends the question of this id, waits for what is said to it, and sends the answer. The
    /// question ends with its session.
    Ask {
        id: String,
        session: String,
        question: Vec<u8>,
        answer: Vec<u8>,
    },
    /// Sends `event` so many times between these, and ends the connection.
    Flood {
        head: Vec<u8>,
        event: Vec<u8>,
        events: u32,
        end: Vec<u8>,
    },
    /// Sends this, and nothing more until all streams are cut.
    Stream(Vec<u8>),
    /// Sends nothing.
    Hold,
}

/// Does it; whether the connection goes on.
pub(super) async fn carry_out(
    reaction: Reaction,
    connection: &mut Connection,
    seen: &Arc<watch::Sender<Seen>>,
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
            let mut news = seen.subscribe();
            connection.send(&question).await;
            let over =
                |seen: &Seen| seen.replies.contains_key(&id) || !seen.sessions.contains(&session);
            tokio::select! {
                _ = news.wait_for(over) => {}
                () = connection.hung_up() => {}
            }
            if seen.borrow().replies.contains_key(&id) {
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
                seen.send_modify(|seen| seen.flooded += 1);
            }
            connection.send(&end).await;
        }
        Reaction::Stream(head) => {
            let cuts = seen.borrow().cuts;
            let mut news = seen.subscribe();
            connection.send(&head).await;
            tokio::select! {
                _ = news.wait_for(|seen| seen.cuts > cuts) => {}
                () = connection.hung_up() => {}
            }
        }
        Reaction::Hold => {
            let _held = Held::new(seen);
            connection.hung_up().await;
        }
    }
    false
}

/// Counts a request that is held.
struct Held(Arc<watch::Sender<Seen>>);

impl Held {
    fn new(seen: &Arc<watch::Sender<Seen>>) -> Self {
        seen.send_modify(|seen| seen.held += 1);
        Self(Arc::clone(seen))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|seen| seen.held -= 1);
    }
}

impl Fault {
    /// What comes of it where `body` is the answer and `name` names the call's stream.
    pub(super) fn befall(self, body: &str, name: &str, session: &str) -> Reaction {
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
                // Insignificant, and not to be told from what is not.
                let blanks = " ".repeat(bytes);
                Reaction::Reply(json(&format!("{blanks}{body}")))
            }
            Self::Silence => Reaction::Hold,
            Self::Asks(question) => {
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
            // It comes again: the session is there.
            Self::Forgotten => Reaction::Reply(json(body)),
        }
    }
}

impl Question {
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

/// An event that is no answer.
fn remark(id: &str) -> String {
    format!("{id}data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/said\"}}\n\n")
}

/// A notification of so many bytes and a few more.
pub(super) fn large_event(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes);
    format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\
         \"params\":{{\"level\":\"info\",\"data\":\"{text}\"}}}}\n\n"
    )
    .into_bytes()
}

/// A stream that ends with its connection.
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
