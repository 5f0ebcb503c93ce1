//! A scripted model on loopback: it speaks the APIs of the providers, and signs in where it has to.
//!
//! Owns: the script, and what each request offered. Does not own: the formats of the APIs, which
//! have a file each.

mod chat;
mod gemini;
mod messages;
mod responses;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::harness::within;

/// What the model says once it has called all that it wants to.
pub(super) const LAST_WORDS: &str = "That is all.";

/// The tool of the server that the model wants to call.
const WANTED: &str = "hello_mcp";

/// The start of the name of the tool that it calls in place of that one.
const STAND_IN: &str = "sign_in_";

/// The endpoint. It ends with this value.
pub(super) struct Model {
    address: SocketAddr,
    turns: watch::Receiver<Vec<Turn>>,
    serving: JoinHandle<()>,
}

/// One request to the model: which tools it may call, and what became of its earlier calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    pub(super) offered: Vec<Tool>,
    called: Vec<String>,
    /// The results of its calls, oldest first.
    pub(super) results: Vec<String>,
}

/// A tool as a host names it.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    /// Where the API knows namespaces.
    namespace: Option<String>,
    name: String,
}

/// What the model answers.
enum Answer {
    Call { id: String, tool: Tool },
    Text(&'static str),
}

impl Model {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, turns) = watch::channel(Vec::new());
        let routes = Router::new()
            .route("/v1/messages", post(messages))
            .route("/v1/responses", post(responses))
            .route("/v1/chat/completions", post(chat))
            .route("/v1beta/models/{call}", post(gemini))
            .fallback(any(unknown))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::new(sender));
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("it serves");
        });
        Self {
            address,
            turns,
            serving,
        }
    }

    /// Where the APIs are.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for the request number `number`, from 0.
    pub(super) async fn turn(&self, number: usize) -> Turn {
        let mut turns = self.turns.clone();
        let there = turns.wait_for(|turns| turns.len() > number);
        let there = within("a request to the model", there).await;
        there.expect("the endpoint goes on")[number].clone()
    }

    /// Returns the latest request of the conversation with the user. A host may think about it
    /// afterwards, in a conversation of its own.
    pub(super) fn last_turn(&self) -> Turn {
        let turns = self.turns.borrow();
        let last = turns.iter().max_by_key(|turn| turn.called.len());
        last.cloned().expect("a request")
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Turn {
    /// Whether the model may call a tool of this name, whatever the host puts before it.
    pub(super) fn offers(&self, name: &str) -> bool {
        self.tool(name).is_some()
    }

    fn tool(&self, name: &str) -> Option<&Tool> {
        self.offered.iter().find(|tool| tool.name.contains(name))
    }

    fn calls_of(&self, name: &str) -> usize {
        let calls = self.called.iter();
        calls.filter(|called| called.contains(name)).count()
    }

    /// Follows the script: calls the wanted tool where it is offered, else the stand-in. A host
    /// may have asked for its next answer before it had the tools, so that is called once again.
    fn answer(&self) -> Answer {
        let next = match self.calls_of(WANTED) {
            0 => self.tool(WANTED).or_else(|| {
                let stand_in = self.tool(STAND_IN)?;
                (self.calls_of(STAND_IN) < 2).then_some(stand_in)
            }),
            _ => None,
        };
        match next {
            Some(tool) => Answer::Call {
                id: format!("call_{}", self.called.len()),
                tool: tool.clone(),
            },
            None => Answer::Text(LAST_WORDS),
        }
    }
}

impl Tool {
    /// One without a namespace.
    fn named(name: &Value) -> Option<Self> {
        let name = name.as_str()?.to_owned();
        Some(Self {
            namespace: None,
            name,
        })
    }
}

type Turns = State<Arc<watch::Sender<Vec<Turn>>>>;

async fn messages(turns: Turns, Json(request): Json<Value>) -> Response {
    let answer = take(&turns, messages::turn(&request));
    stream(&messages::events(&answer))
}

async fn responses(turns: Turns, Json(request): Json<Value>) -> Response {
    let answer = take(&turns, responses::turn(&request));
    stream(&responses::events(&answer))
}

async fn chat(turns: Turns, Json(request): Json<Value>) -> Response {
    let answer = take(&turns, chat::turn(&request));
    stream(&chat::events(&answer))
}

async fn gemini(turns: Turns, Json(request): Json<Value>) -> Response {
    let answer = take(&turns, gemini::turn(&request));
    stream(&[gemini::event(&answer)])
}

/// What hosts ask beside that: counts of tokens, lists of models.
async fn unknown(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, uri.path().to_owned()).into_response()
}

/// Notes a request and answers it. One without tools asks for a title and counts for nothing.
fn take(turns: &watch::Sender<Vec<Turn>>, turn: Turn) -> Answer {
    let answer = turn.answer();
    if !turn.offered.is_empty() {
        turns.send_modify(|turns| turns.push(turn));
    }
    answer
}

/// Server-sent events, named by their `type` where they have one.
fn stream(events: &[Value]) -> Response {
    let event = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let body: String = events.iter().map(event).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The elements of an array; none if it is something else.
fn elements(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// The text of a result, which is one or has parts with some.
fn text(content: &Value) -> String {
    match content.as_str() {
        Some(text) => text.to_owned(),
        None => content.to_string(),
    }
}
