//! Calls during which the server requests input.
//!
//! In the legacy era the server sends a request while the call is open. In the modern era the call
//! returns the input requests and is repeated with the responses (2026-07-28, "Multi Round-Trip
//! Requests").

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::{
    response::answer,
    session::{Incoming, Session, result_of},
};

/// The state of a call.
pub(crate) enum CallState {
    /// The call returned a result.
    Done(Value),
    /// The call requires input.
    Asked(InputRequest),
}

/// The input that a call requires.
pub(crate) enum InputRequest {
    /// A request of the server while the call with this id is open.
    Open {
        /// The id of the call.
        call: u64,
        /// The whole message.
        request: Value,
    },
    /// A result that requires input.
    Ended {
        /// The parameters of the call.
        params: Value,
        /// The input requests and the state to return.
        result: Value,
    },
}

impl Session {
    /// Calls a tool, responds to all input requests, and returns the result. Fails if the result is
    /// an error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let mut state = self.begin_call(tool, arguments).await?;
        loop {
            match state {
                CallState::Done(result) => {
                    ensure!(result["isError"] != true, "{tool}: {result}");
                    return Ok(result);
                }
                CallState::Asked(input_request) => {
                    state = self.continue_call(input_request).await?
                }
            }
        }
    }

    /// Calls a tool until it returns or requires input.
    pub(crate) async fn begin_call(&mut self, tool: &str, arguments: Value) -> Result<CallState> {
        self.send_call(json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// Responds to the input request and continues the call.
    pub(crate) async fn continue_call(&mut self, input_request: InputRequest) -> Result<CallState> {
        match input_request {
            InputRequest::Open { call, request } => {
                self.answer(&request).await?;
                self.wait(call, Value::Null).await
            }
            InputRequest::Ended { params, result } => {
                self.send_call(with_input_responses(params, result)?).await
            }
        }
    }

    async fn send_call(&mut self, params: Value) -> Result<CallState> {
        let id = self.send_request("tools/call", params.clone()).await?;
        self.wait(id, params).await
    }

    async fn wait(&mut self, id: u64, params: Value) -> Result<CallState> {
        match self.receive(id).await? {
            Incoming::Request(request) => {
                Ok(CallState::Asked(InputRequest::Open { call: id, request }))
            }
            Incoming::Response(answer) => {
                let result = result_of("tools/call", answer)?;
                Ok(match result["resultType"].as_str() {
                    Some("input_required") => {
                        CallState::Asked(InputRequest::Ended { params, result })
                    }
                    Some(_) | None => CallState::Done(result),
                })
            }
        }
    }
}

/// Returns the call's parameters with the input responses and the unchanged state.
fn with_input_responses(mut params: Value, mut result: Value) -> Result<Value> {
    let questions = result["inputRequests"].as_object();
    let questions = questions.context("input is required, and none asked for")?;
    let answers: Result<Map<_, _>> = questions
        .iter()
        .map(|(key, input_request)| Ok((key.clone(), answer(input_request)?)))
        .collect();
    params["inputResponses"] = Value::Object(answers?);
    match result["requestState"].take() {
        Value::Null => {}
        state => params["requestState"] = state,
    }
    Ok(params)
}
