//! Calls that ask something back.
//!
//! In the legacy era the server asks while the call is open, and is answered; in the modern era
//! the call ends with the question, and is made again with the answer (2026-07-28, "Multi
//! Round-Trip Requests").

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::session::{Conversation, Heard, result_of};

/// How far a call got.
pub(crate) enum Turn {
    /// To its result.
    Done(Value),
    /// To a question.
    Asked(Question),
}

/// What has to be answered before a call goes on.
pub(crate) enum Question {
    /// A request of the server, while the call with this id is open.
    Open {
        /// The call.
        call: u64,
        /// The whole message.
        request: Value,
    },
    /// What came in a result's place.
    Ended {
        /// The parameters of the call.
        params: Value,
        /// What was asked, and the state to send along.
        result: Value,
    },
}

impl Conversation {
    /// Calls a tool and answers whatever is asked meanwhile; its result, which is no error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let mut turn = self.begin_call(tool, arguments).await?;
        loop {
            match turn {
                Turn::Done(result) => {
                    ensure!(result["isError"] != true, "{tool}: {result}");
                    return Ok(result);
                }
                Turn::Asked(question) => turn = self.go_on(question).await?,
            }
        }
    }

    /// Calls a tool, until it is done or asks something.
    pub(crate) async fn begin_call(&mut self, tool: &str, arguments: Value) -> Result<Turn> {
        self.send_call(json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// Answers, and lets the call go on.
    pub(crate) async fn go_on(&mut self, question: Question) -> Result<Turn> {
        match question {
            Question::Open { call, request } => {
                self.answer(&request).await?;
                self.wait(call, Value::Null).await
            }
            Question::Ended { params, result } => self.send_call(again(params, result)?).await,
        }
    }

    async fn send_call(&mut self, params: Value) -> Result<Turn> {
        let id = self.ask("tools/call", params.clone()).await?;
        self.wait(id, params).await
    }

    async fn wait(&mut self, id: u64, params: Value) -> Result<Turn> {
        match self.hear(id).await? {
            Heard::Request(request) => Ok(Turn::Asked(Question::Open { call: id, request })),
            Heard::Answer(answer) => {
                let result = result_of("tools/call", answer)?;
                Ok(match result["resultType"].as_str() {
                    Some("input_required") => Turn::Asked(Question::Ended { params, result }),
                    Some(_) | None => Turn::Done(result),
                })
            }
        }
    }
}

/// A call's parameters with the answers to what it asked, and the state as it came.
fn again(mut params: Value, mut result: Value) -> Result<Value> {
    let questions = result["inputRequests"].as_object();
    let questions = questions.context("input is required, and none asked for")?;
    let answers: Result<Map<_, _>> = questions
        .iter()
        .map(|(key, question)| Ok((key.clone(), answer(question)?)))
        .collect();
    params["inputResponses"] = Value::Object(answers?);
    match result["requestState"].take() {
        Value::Null => {}
        state => params["requestState"] = state,
    }
    Ok(params)
}

/// What the host and its person answer to a server's request.
pub(crate) fn answer(request: &Value) -> Result<Value> {
    match request["method"].as_str() {
        Some("ping") => Ok(json!({})),
        Some("roots/list") => Ok(json!({ "roots": [] })),
        Some("sampling/createMessage") => Ok(json!({
            "role": "assistant",
            "content": { "type": "text", "text": "an answer" },
            "model": "none",
        })),
        Some("elicitation/create") => {
            let form = filled(&request["params"]["requestedSchema"]);
            Ok(json!({ "action": "accept", "content": form }))
        }
        _ => bail!("a request that no server should make: {request}"),
    }
}

/// Something that fits a schema: the default where it has one.
pub(crate) fn filled(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    match schema["type"].as_str() {
        Some("object") | None => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let fields = properties.map(|(name, schema)| (name.clone(), filled(schema)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([]),
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(2),
        Some("null") => Value::Null,
        Some(_) => json!("some text"),
    }
}
