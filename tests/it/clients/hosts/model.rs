//! A scripted model on loopback. It implements the providers' APIs and calls the tool for a sign-in
//! when that is needed.
//!
//! Owns: the script, and what each request offered.
//! Does not own: the formats of the APIs, which have a file each.

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

/// The model's final text.
pub(super) const LAST_WORDS: &str = "That is all.";

/// The server's tool that the model calls.
const WANTED: &str = "hello_mcp";

/// The prefix of the tool that it calls while the server's tool is missing.
const STAND_IN: &str = "sign_in_";

/// The endpoint. It stops when it is dropped.
pub(super) struct Model {
    address: SocketAddr,
    turns: watch::Receiver<Vec<Turn>>,
    serving: JoinHandle<()>,
}

/// A request to the model: the offered tools, and the earlier calls with their results.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    pub(super) offered: Vec<Tool>,
    called: Vec<String>,
    /// The results of the earlier calls, oldest first.
    pub(super) results: Vec<String>,
}

/// A tool as a host names it.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    /// Only for APIs with namespaces.
    namespace: Option<String>,
    name: String,
}

/// The model's response.
enum ModelResponse {
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

    /// Returns the base URL of the APIs.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for request `number`, counted from 0.
    pub(super) async fn turn(&self, number: usize) -> Turn {
        let mut turns = self.turns.clone();
        let there = turns.wait_for(|turns| turns.len() > number);
        let there = within("a request to the model", there).await;
        there.expect("the endpoint goes on")[number].clone()
    }

    /// Returns the latest request of the session with the user. A host may start another session
    /// about it afterwards.
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
    /// Returns true if a tool with this name is offered, with any prefix of the host.
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

    /// Follows the script: calls the wanted tool if it is offered, otherwise the stand-in. Calls
    /// the stand-in at most twice, because a host may send its next request before it has the new
    /// tools.
    fn answer(&self) -> ModelResponse {
        let next = match self.calls_of(WANTED) {
            0 => self.tool(WANTED).or_else(|| {
                let stand_in = self.tool(STAND_IN)?;
                (self.calls_of(STAND_IN) < 2).then_some(stand_in)
            }),
            _ => None,
        };
        match next {
            Some(tool) => ModelResponse::Call {
                id: format!("call_{}", self.called.len()),
                tool: tool.clone(),
            },
            None => ModelResponse::Text(LAST_WORDS),
        }
    }
}

impl Tool {
    /// Creates a tool without a namespace.
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

/// Answers other requests of hosts, such as token counts and lists of models.
async fn unknown(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, uri.path().to_owned()).into_response()
}

/// Records a request and responds. A request without tools only wants a title and is not recorded.
fn take(turns: &watch::Sender<Vec<Turn>>, turn: Turn) -> ModelResponse {
    let answer = turn.answer();
    if !turn.offered.is_empty() {
        turns.send_modify(|turns| turns.push(turn));
    }
    answer
}

/// Returns server-sent events, named by their `type` if they have one.
fn stream(events: &[Value]) -> Response {
    let event = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let body: String = events.iter().map(event).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Returns the elements of an array, or none for any other value.
fn elements(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// Returns the text of a result, which is a string or a list of parts.
fn text(content: &Value) -> String {
    match content.as_str() {
        Some(text) => text.to_owned(),
        None => content.to_string(),
    }
}
