//! Hosts that support one revision each and check that the bridge follows it.
//!
//! Owns: the host's declarations and responses, and the check that each request gets one response.
//! Does not own: the transports ([`super::wire`]), or which requests are sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reqwest::Client;
use serde_json::{Map, Value, json};

use super::{
    LEGACY, MODERN, OLDEST,
    wire::{Incoming, StreamId, Wire},
};
use crate::harness::{wire::client, within};

/// The revision of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    /// 2024-11-05, without elicitation.
    Oldest,
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// A host in a session.
pub(super) struct Host {
    pub(super) revision: Revision,
    wire: Wire,
    user: Client,
    last_id: u64,
    open: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    answers: BTreeMap<u64, Value>,
    questions: VecDeque<Value>,
    told: Vec<Notification>,
}

/// A received notification.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) message: Value,
    pub(super) on: StreamId,
}

/// The outcome of a request.
pub(super) struct Outcome {
    /// The id of its last attempt.
    pub(super) id: u64,
    /// The whole message.
    pub(super) answer: Value,
    /// The requests that the host got meanwhile.
    pub(super) asked: Vec<Value>,
}

impl Revision {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Oldest => OLDEST,
            Self::Legacy => LEGACY,
            Self::Modern => MODERN,
        }
    }

    fn capabilities(self) -> Value {
        match self {
            Self::Oldest => json!({ "roots": {}, "sampling": {} }),
            Self::Legacy | Self::Modern => json!({
                "elicitation": { "form": {}, "url": {} },
                "roots": {},
                "sampling": {},
            }),
        }
    }
}

impl Host {
    /// Starts the session as a host of this revision does, and checks the server's identity.
    pub(super) async fn begin(revision: Revision, wire: Wire) -> Self {
        let mut host = Self {
            revision,
            wire,
            user: client(),
            last_id: 0,
            open: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            ended: BTreeSet::new(),
            answers: BTreeMap::new(),
            questions: VecDeque::new(),
            told: Vec::new(),
        };
        let result = match revision {
            Revision::Oldest | Revision::Legacy => host.initialize().await,
            Revision::Modern => host.discover().await,
        };
        let capabilities = &result["capabilities"];
        assert_eq!(capabilities["resources"]["subscribe"], true, "{result}");
        assert_eq!(capabilities["tools"]["listChanged"], true, "{result}");
        host
    }

    async fn initialize(&mut self) -> Value {
        let version = self.revision.version();
        let params = json!({
            "protocolVersion": version,
            "capabilities": self.revision.capabilities(),
            "clientInfo": { "name": "a host of the matrix", "version": "1" },
        });
        let result = self.result("initialize", params).await;
        assert_eq!(result["protocolVersion"], version, "{result}");
        assert_eq!(result["serverInfo"]["name"], "mcp-fixture", "{result}");
        self.wire.agreed(version);
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.wire.send(initialized).await;
        self.wire.listen().await;
        result
    }

    async fn discover(&mut self) -> Value {
        let result = self.result("server/discover", json!({})).await;
        assert_eq!(result["supportedVersions"], json!([MODERN]), "{result}");
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "mcp-fixture", "{result}");
        result
    }

    /// Sends a request and returns its result. Fails if input is requested.
    pub(super) async fn result(&mut self, method: &str, params: Value) -> Value {
        let mut outcome = self.perform(method, params).await;
        assert!(outcome.asked.is_empty(), "{:?}", outcome.asked);
        outcome.take_result()
    }

    /// Sends a request that fails and returns the error.
    pub(super) async fn error(&mut self, method: &str, params: Value) -> Value {
        let mut outcome = self.perform(method, params).await;
        let error = outcome.answer["error"].take();
        assert!(error.is_object(), "{method}: {}", outcome.answer);
        error
    }

    /// Calls a tool and returns its only text. Fails if input is requested.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let mut outcome = self.perform_call(tool, arguments).await;
        assert!(outcome.asked.is_empty(), "{:?}", outcome.asked);
        outcome.text()
    }

    /// Calls a tool and responds to all requests for input.
    pub(super) async fn perform_call(&mut self, tool: &str, arguments: Value) -> Outcome {
        let params = json!({ "name": tool, "arguments": arguments });
        self.perform("tools/call", params).await
    }

    /// Sends a request and responds to all requests for input until it is complete.
    pub(super) async fn perform(&mut self, method: &str, params: Value) -> Outcome {
        let mut asked = Vec::new();
        let mut round = params.clone();
        loop {
            let id = self.send_request(method, round).await;
            let answer = self.response(id, &mut asked).await;
            let result = &answer["result"];
            if result["resultType"] != "input_required" {
                let is_modern = self.revision == Revision::Modern;
                let says_so = answer["error"].is_object() || result["resultType"] == "complete";
                assert!(!is_modern || says_so, "{answer}");
                return Outcome { id, answer, asked };
            }
            assert_eq!(self.revision, Revision::Modern, "{answer}");
            round = params.clone();
            self.fill(&mut round, result, &mut asked).await;
        }
    }

    /// Sends a request and returns its id.
    pub(super) async fn send_request(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if self.revision == Revision::Modern {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
            meta["io.modelcontextprotocol/clientCapabilities"] = self.revision.capabilities();
        }
        self.open.insert(id);
        self.wire
            .send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// Cancels a request as this revision specifies. It must get no response.
    pub(super) async fn cancel(&mut self, id: u64) {
        assert!(self.open.remove(&id), "{id} is answered");
        self.cancelled.insert(id);
        self.wire.cancel(id).await;
        if self.revision != Revision::Modern && self.wire.has_streams() {
            while !self.ended.contains(&id) {
                self.receive().await;
            }
        }
    }

    /// Waits for `number` notifications of a method. Fails if there are more.
    pub(super) async fn told(&mut self, method: &str, number: usize) -> Vec<Notification> {
        let is_it = |told: &Notification| told.message["method"] == method;
        while self.told.iter().filter(|told| is_it(told)).count() < number {
            self.receive().await;
        }
        let told: Vec<_> = self.told.extract_if(.., |told| is_it(told)).collect();
        assert_eq!(told.len(), number, "{told:?}");
        told
    }

    /// Returns the remaining notifications.
    pub(super) fn unexpected_notifications(&mut self) -> Vec<Notification> {
        std::mem::take(&mut self.told)
    }

    /// Returns true if a notification of this request may arrive on this stream.
    pub(super) fn is_stream_of(&self, id: u64, on: StreamId) -> bool {
        match self.wire.has_streams() {
            true => on == StreamId::Request(id),
            false => on == StreamId::Session,
        }
    }

    async fn response(&mut self, id: u64, asked: &mut Vec<Value>) -> Value {
        loop {
            if let Some(question) = self.questions.pop_front() {
                let result = self.respond(&question).await;
                asked.push(question.clone());
                let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
                self.wire.send(answer).await;
            } else if let Some(answer) = self.answers.remove(&id) {
                return answer;
            } else {
                self.receive().await;
            }
        }
    }

    /// Receives the next message and stores it by its kind.
    async fn receive(&mut self) {
        match within("what comes next", self.wire.next()).await {
            Incoming::Ended(id) => {
                assert!(!self.open.contains(&id), "{id} was not answered");
                self.ended.insert(id);
            }
            Incoming::Message { message, on } if message.get("method").is_none() => {
                let id = message["id"].as_u64().filter(|id| self.open.remove(id));
                let id = id.unwrap_or_else(|| panic!("an unexpected response: {message}"));
                assert!(self.is_stream_of(id, on), "{message} on {on:?}");
                self.answers.insert(id, message);
            }
            Incoming::Message { message, .. } if message["method"] == "ping" => {
                assert_ne!(self.revision, Revision::Modern, "{message}");
                let pong = json!({ "jsonrpc": "2.0", "id": message["id"], "result": {} });
                self.wire.send(pong).await;
            }
            Incoming::Message { message, .. } if message.get("id").is_some() => {
                assert_ne!(self.revision, Revision::Modern, "{message}");
                self.questions.push_back(message);
            }
            Incoming::Message { message, on } => self.told.push(Notification { message, on }),
        }
    }

    /// Adds the responses to a result's input requests to the parameters.
    async fn fill(&self, params: &mut Value, result: &Value, asked: &mut Vec<Value>) {
        let mut answers = Map::new();
        for (name, question) in result["inputRequests"].as_object().into_iter().flatten() {
            answers.insert(name.clone(), self.respond(question).await);
            asked.push(question.clone());
        }
        params["inputResponses"] = Value::Object(answers);
        if result["requestState"].is_string() {
            params["requestState"] = result["requestState"].clone();
        }
    }

    /// Returns the response of the host, its model and its user.
    async fn respond(&self, question: &Value) -> Value {
        let params = &question["params"];
        match question["method"].as_str() {
            Some("roots/list") => json!({ "roots": [{ "uri": "file:///work", "name": "work" }] }),
            Some("sampling/createMessage") => json!({
                "role": "assistant",
                "content": { "type": "text", "text": "Paris" },
                "model": "a model",
                "stopReason": "endTurn",
            }),
            Some("elicitation/create") if params["mode"] == "url" => {
                let name = params["elicitationId"].as_str().unwrap_or_default();
                assert_eq!(
                    name.is_empty(),
                    self.revision == Revision::Modern,
                    "{question}"
                );
                self.visit(&params["url"]).await;
                json!({ "action": "accept" })
            }
            Some("elicitation/create") => {
                let fields = params["requestedSchema"]["properties"].as_object();
                let fields = fields.expect("fields").keys();
                let content: Map<_, _> = fields
                    .map(|field| (field.clone(), field_value(field)))
                    .collect();
                json!({ "action": "accept", "content": content })
            }
            _ => panic!("unexpected request: {question}"),
        }
    }

    /// Opens a URL, as the user does.
    pub(super) async fn visit(&self, url: &Value) {
        let url = url.as_str().expect("an address");
        let page = within(url, self.user.get(url).send()).await;
        assert_eq!(page.expect("a page").status(), 200, "{url}");
    }
}

impl Outcome {
    /// Returns the result. Fails on an error.
    pub(super) fn take_result(&mut self) -> Value {
        let result = self.answer["result"].take();
        assert!(result.is_object(), "{}", self.answer);
        result
    }

    /// Returns the only text of a tool's result.
    pub(super) fn text(&mut self) -> String {
        let result = self.take_result();
        assert_ne!(result["isError"], true, "{result}");
        assert_eq!(result["content"].as_array().map(Vec::len), Some(1));
        let text = result["content"][0]["text"].as_str();
        text.expect("a text").to_owned()
    }

    /// Returns the methods of the requests for input, sorted.
    pub(super) fn methods(&self) -> Vec<&str> {
        let methods = self.asked.iter().filter_map(|one| one["method"].as_str());
        let mut methods: Vec<_> = methods.collect();
        methods.sort_unstable();
        methods
    }
}

/// Returns the user's value for a field.
fn field_value(field: &str) -> Value {
    match field {
        "name" => json!("Ada"),
        "color" => json!("teal"),
        "context" => json!("tests"),
        other => panic!("the user does not know `{other}`"),
    }
}
