//! Sessions of the bridge itself, for the user's "test" and "call".
//!
//! Invariant: a test never starts or awaits a sign-in. A call from the window is handled like the
//! call of a host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control::api::{AuthErrorView, Problem, ProblemKind, TestReport, ToolResult};
use mcp::handshake::InitializeResult;
use mcp::{LATEST_LEGACY, Message, RequestId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::problem;
use crate::registry::Server;
use crate::session::SessionContext;
use crate::session::{self, HostChannel, SessionKind};
use crate::session_registry::Listing;

/// How long a server may take for each step of a test.
const TEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a tool call may take, and each step before it.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Initializes a session and lists the tools.
pub(crate) async fn test(
    context: &Arc<SessionContext>,
    server: &Arc<Server>,
) -> Result<TestReport, Problem> {
    let begun = Instant::now();
    let (mut probe, handshake) = Probe::open(context, server, TEST_TIMEOUT).await?;
    let tools = probe.request("tools/list", json!({})).await?;
    Ok(report(&handshake, &tools, begun))
}

/// Builds the report from a handshake and a list of tools. Removes control characters, because the
/// report is shown at terminals.
pub(crate) fn report(handshake: &Message, tools: &Value, begun: Instant) -> TestReport {
    let handshake = InitializeResult::from_response(handshake);
    let info = handshake
        .as_ref()
        .and_then(|result| result.server_info.as_ref());
    let tools = tools["tools"].as_array().into_iter().flatten();
    TestReport {
        server_info: info.map_or_else(String::new, |info| {
            printable(&format!("{} {}", info.name, info.version))
        }),
        protocol_version: handshake
            .as_ref()
            .map_or_else(String::new, |result| printable(&result.protocol_version)),
        tools: tools
            .filter_map(|tool| tool["name"].as_str().map(printable))
            .collect(),
        milliseconds: u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX),
    }
}

/// Removes control characters from text of a server.
pub(crate) fn printable(words: &str) -> String {
    words.chars().filter(|one| !one.is_control()).collect()
}

/// Calls a tool.
pub(crate) async fn call(
    context: &Arc<SessionContext>,
    server: &Arc<Server>,
    tool: &str,
    arguments: &str,
) -> Result<ToolResult, Problem> {
    let arguments: serde_json::Map<String, Value> =
        mcp::json::read(arguments).map_err(|error| {
            Problem::new(
                ProblemKind::Invalid,
                format!("the arguments are not a JSON object: {error}"),
            )
            .with_hint(r#"write them as in {"name": "value"}"#)
        })?;
    let (mut probe, _) = Probe::open(context, server, CALL_TIMEOUT).await?;
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
    channel: HostChannel,
    next_id: i64,
    /// How long each response may take.
    timeout: Duration,
}

impl Probe {
    /// Initializes a session. Returns it with the response to `initialize`.
    async fn open(
        context: &Arc<SessionContext>,
        server: &Arc<Server>,
        timeout: Duration,
    ) -> Result<(Self, Message), Problem> {
        let channel = session::start(
            context,
            Arc::clone(server),
            Listing::Single,
            SessionKind::Probe,
        );
        let mut probe = Self {
            channel,
            next_id: 1,
            timeout,
        };
        let info = json!({ "name": "postern", "title": "Postern", "version": context.version });
        let params =
            json!({ "protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": info });
        let answer = probe.answer("initialize", params).await?;
        probe
            .send(Message::notification("notifications/initialized", None))
            .await?;
        Ok((probe, answer))
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Problem> {
        let answer = self.answer(method, params).await?;
        let result = answer
            .result()
            .and_then(|result| mcp::json::read(result.get()).ok());
        result.ok_or_else(|| not_mcp("an answer without a result"))
    }

    async fn answer(&mut self, method: &str, params: Value) -> Result<Message, Problem> {
        let id = RequestId::number(self.next_id);
        self.next_id += 1;
        self.send(Message::request(&id, method, Some(params)))
            .await?;
        let answer = async {
            while let Some(outgoing) = self.channel.from.recv().await {
                if outgoing.message.method().is_none() && outgoing.message.id() == Some(&id) {
                    return Some(outgoing.message);
                }
            }
            None
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Some(answer)) => match answer.error() {
                None => Ok(answer),
                Some(error) => Err(problem_of(error.get())),
            },
            Ok(None) => Err(not_mcp("nothing")),
            Err(_) => {
                let text = format!(
                    "the server has not answered within {} seconds",
                    self.timeout.as_secs()
                );
                Err(Problem::new(ProblemKind::Unreachable, text).with_hint(
                    "check the URL and whether the server is running; if it is starting, try again in a moment",
                ))
            }
        }
    }

    async fn send(&self, message: Message) -> Result<(), Problem> {
        self.channel
            .to
            .send(message)
            .await
            .map_err(|_| not_mcp("nothing"))
    }
}

/// Converts an error of the server, or one of Postern with its hint.
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
        refusal: Option<Box<AuthErrorView>>,
    }
    let Ok(answer) = mcp::json::read::<Refused>(error) else {
        return match mcp::json::read::<Value>(error) {
            Ok(error) if is_no_such_server(&error) => no_such_server(&error),
            Ok(error) => refused(
                error["message"]
                    .as_str()
                    .unwrap_or("an error without a message"),
            ),
            Err(_) => not_mcp("an invalid error"),
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

/// Returns true if the error is that of a Postern gateway without a server at the URL.
fn is_no_such_server(error: &Value) -> bool {
    let kind = error["data"]["kind"].as_str();
    kind.is_some_and(|kind| kind.replace('_', "-") == "no-such-server")
}

fn no_such_server(error: &Value) -> Problem {
    let words = error["message"].as_str().unwrap_or_default();
    let words = model::excerpt(words.as_bytes(), &[]);
    let text = words.unwrap_or_else(|| "no such server at this gateway".to_owned());
    Problem::new(ProblemKind::NotFound, text).with_hint("check the path of the server's URL")
}

pub(crate) fn refused(words: &str) -> Problem {
    let words = printable(words);
    Problem::new(ProblemKind::Failed, format!("the server says: {words}"))
}

fn not_mcp(what: &str) -> Problem {
    let failure = mcp::upstream::UpstreamError::NotMcp {
        status: 200,
        what: what.to_owned(),
    };
    problem::from_failure(&failure)
}
