//! A session of our own: what a person's "test" and "call" do.
//!
//! Invariant: a test asks nobody to sign in and never waits for one; a call that a person made
//! from the window goes the same way as a host's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::api::{Problem, ProblemKind, RefusalView, TestReport, ToolResult};
use mcp::handshake::InitializeResult;
use mcp::{LATEST_LEGACY, Message, RequestId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hub::{Hub, Listing};
use crate::problem;
use crate::registry::Server;
use crate::session::{self, Ends, Manner};

/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Shakes hands and lists the tools.
pub(crate) async fn test(hub: &Arc<Hub>, server: &Arc<Server>) -> Result<TestReport, Problem> {
    let begun = Instant::now();
    let mut probe = Probe::open(hub, server).await?;
    let tools = probe.request("tools/list", json!({})).await?;
    Ok(TestReport {
        server_info: probe.server_info,
        protocol_version: probe.protocol_version,
        tools: tools["tools"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
            .collect(),
        milliseconds: u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX),
    })
}

/// Calls a tool.
pub(crate) async fn call(
    hub: &Arc<Hub>,
    server: &Arc<Server>,
    tool: &str,
    arguments: &str,
) -> Result<ToolResult, Problem> {
    let arguments: serde_json::Map<String, Value> =
        serde_json::from_str(arguments).map_err(|error| {
            Problem::new(
                ProblemKind::Invalid,
                format!("the arguments are not a JSON object: {error}"),
            )
            .with_hint(r#"write them as in {"name": "value"}"#)
        })?;
    let mut probe = Probe::open(hub, server).await?;
    let result = probe
        .request(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
        .await?;
    let texts = result["content"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["text"].as_str());
    Ok(ToolResult {
        text: texts.collect::<Vec<_>>().join("\n"),
        is_error: result["isError"].as_bool().unwrap_or(false),
        json: result.to_string(),
    })
}

struct Probe {
    ends: Ends,
    next_id: i64,
    server_info: String,
    protocol_version: String,
}

impl Probe {
    async fn open(hub: &Arc<Hub>, server: &Arc<Server>) -> Result<Self, Problem> {
        let ends = session::start(hub, Arc::clone(server), Listing::Single, Manner::Probe);
        let mut probe = Self {
            ends,
            next_id: 1,
            server_info: String::new(),
            protocol_version: String::new(),
        };
        let info = json!({ "name": "postern", "title": "Postern", "version": hub.options.version });
        let params =
            json!({ "protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": info });
        let answer = probe.answer("initialize", params).await?;
        if let Some(result) = InitializeResult::of(&answer) {
            probe.protocol_version = result.protocol_version.into_owned();
            probe.server_info = result
                .server_info
                .map(|info| format!("{} {}", info.name, info.version))
                .unwrap_or_default();
        }
        probe
            .send(Message::notification("notifications/initialized", None))
            .await?;
        Ok(probe)
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Problem> {
        let answer = self.answer(method, params).await?;
        let result = answer
            .result()
            .and_then(|result| serde_json::from_str(result.get()).ok());
        result.ok_or_else(|| not_mcp("an answer without a result"))
    }

    async fn answer(&mut self, method: &str, params: Value) -> Result<Message, Problem> {
        let id = RequestId::number(self.next_id);
        self.next_id += 1;
        self.send(Message::request(&id, method, Some(params)))
            .await?;
        let answer = async {
            while let Some(told) = self.ends.from.recv().await {
                if told.message.method().is_none() && told.message.id() == Some(&id) {
                    return Some(told.message);
                }
            }
            None
        };
        match tokio::time::timeout(LIMIT, answer).await {
            Ok(Some(answer)) => match answer.error() {
                None => Ok(answer),
                Some(error) => Err(problem_of(error.get())),
            },
            Ok(None) => Err(not_mcp("nothing")),
            Err(_) => Err(
                Problem::new(ProblemKind::Unreachable, "the server does not answer")
                    .with_hint("try again in a moment"),
            ),
        }
    }

    async fn send(&self, message: Message) -> Result<(), Problem> {
        self.ends
            .to
            .send(message)
            .await
            .map_err(|_| not_mcp("nothing"))
    }
}

/// The error of the server, or our own with what it says to do next.
fn problem_of(error: &str) -> Problem {
    #[derive(Deserialize)]
    struct Refused {
        message: String,
        data: Option<Own>,
    }
    #[derive(Deserialize)]
    struct Own {
        kind: ProblemKind,
        hint: Option<String>,
        refusal: Option<Box<RefusalView>>,
    }
    let Ok(answer) = serde_json::from_str::<Refused>(error) else {
        return match serde_json::from_str::<Value>(error) {
            Ok(error) => refused(
                error["message"]
                    .as_str()
                    .unwrap_or("an error without words"),
            ),
            Err(_) => not_mcp("an error that is none"),
        };
    };
    match answer.data {
        Some(Own {
            kind,
            hint,
            refusal,
        }) => Problem {
            kind,
            message: answer.message,
            hint,
            refusal,
        },
        None => refused(&answer.message),
    }
}

fn refused(words: &str) -> Problem {
    Problem::new(ProblemKind::Failed, format!("the server says: {words}"))
}

fn not_mcp(what: &str) -> Problem {
    let failure = mcp::up::Failure::NotMcp {
        status: 200,
        what: what.to_owned(),
    };
    problem::of_failure(&failure)
}
