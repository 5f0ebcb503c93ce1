//! Hosts that know one revision each, and hold the other end to it.
//!
//! Owns: what a host says of itself and answers, and that each of its requests gets one answer.
//! Does not own: how messages travel ([`super::wire`]), or what is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reqwest::Client;
use serde_json::{Map, Value, json};

use super::{
    LEGACY, MODERN, OLDEST,
    wire::{Heard, On, Wire},
};
use crate::harness::{wire::client, within};

/// Which revision a host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// 2024-11-05: it cannot be asked for what a person knows.
    Oldest,
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// A host in a conversation.
pub(super) struct Host {
    pub(super) speaks: Speaks,
    wire: Wire,
    person: Client,
    last_id: u64,
    open: BTreeSet<u64>,
    cancelled: BTreeSet<u64>,
    ended: BTreeSet<u64>,
    answers: BTreeMap<u64, Value>,
    questions: VecDeque<Value>,
    told: Vec<Told>,
}

/// A notification.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) message: Value,
    pub(super) on: On,
}

/// How a request went.
pub(super) struct Outcome {
    /// The latest id it was made under.
    pub(super) id: u64,
    /// The whole message.
    pub(super) answer: Value,
    /// What the host was asked meanwhile: methods and parameters.
    pub(super) asked: Vec<Value>,
}

impl Speaks {
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
    /// Does what a host of this revision does first; the server is who it should be.
    pub(super) async fn begin(speaks: Speaks, wire: Wire) -> Self {
        let mut host = Self {
            speaks,
            wire,
            person: client(),
            last_id: 0,
            open: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            ended: BTreeSet::new(),
            answers: BTreeMap::new(),
            questions: VecDeque::new(),
            told: Vec::new(),
        };
        let result = match speaks {
            Speaks::Oldest | Speaks::Legacy => host.shake_hands().await,
            Speaks::Modern => host.discover().await,
        };
        let capabilities = &result["capabilities"];
        assert_eq!(capabilities["resources"]["subscribe"], true, "{result}");
        assert_eq!(capabilities["tools"]["listChanged"], true, "{result}");
        host
    }

    async fn shake_hands(&mut self) -> Value {
        let version = self.speaks.version();
        let params = json!({
            "protocolVersion": version,
            "capabilities": self.speaks.capabilities(),
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

    /// Makes a request that asks nothing, and waits for its result.
    pub(super) async fn result(&mut self, method: &str, params: Value) -> Value {
        let mut outcome = self.perform(method, params).await;
        assert!(outcome.asked.is_empty(), "{:?}", outcome.asked);
        outcome.take_result()
    }

    /// The same for one that fails; the error.
    pub(super) async fn error(&mut self, method: &str, params: Value) -> Value {
        let mut outcome = self.perform(method, params).await;
        let error = outcome.answer["error"].take();
        assert!(error.is_object(), "{method}: {}", outcome.answer);
        error
    }

    /// Calls a tool that asks nothing; the one text of its result.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> String {
        let mut outcome = self.perform_call(tool, arguments).await;
        assert!(outcome.asked.is_empty(), "{:?}", outcome.asked);
        outcome.text()
    }

    /// Calls a tool and answers what is asked.
    pub(super) async fn perform_call(&mut self, tool: &str, arguments: Value) -> Outcome {
        let params = json!({ "name": tool, "arguments": arguments });
        self.perform("tools/call", params).await
    }

    /// Makes a request and answers what is asked, to the end of it.
    pub(super) async fn perform(&mut self, method: &str, params: Value) -> Outcome {
        let mut asked = Vec::new();
        let mut round = params.clone();
        loop {
            let id = self.ask(method, round).await;
            let answer = self.answer(id, &mut asked).await;
            let result = &answer["result"];
            if result["resultType"] != "input_required" {
                let is_modern = self.speaks == Speaks::Modern;
                let says_so = answer["error"].is_object() || result["resultType"] == "complete";
                assert!(!is_modern || says_so, "{answer}");
                return Outcome { id, answer, asked };
            }
            assert_eq!(self.speaks, Speaks::Modern, "{answer}");
            round = params.clone();
            self.fill(&mut round, result, &mut asked).await;
        }
    }

    /// Makes a request; its id.
    pub(super) async fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        if self.speaks == Speaks::Modern {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
            meta["io.modelcontextprotocol/clientCapabilities"] = self.speaks.capabilities();
        }
        self.open.insert(id);
        self.wire
            .send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// Cancels a request as this host's revision has it. It is never answered.
    pub(super) async fn cancel(&mut self, id: u64) {
        assert!(self.open.remove(&id), "{id} is answered");
        self.cancelled.insert(id);
        self.wire.cancel(id).await;
        if self.speaks != Speaks::Modern && self.wire.has_streams() {
            while !self.ended.contains(&id) {
                self.hear().await;
            }
        }
    }

    /// Waits for so many notifications of a kind, and that is all of them so far.
    pub(super) async fn told(&mut self, method: &str, number: usize) -> Vec<Told> {
        let is_it = |told: &Told| told.message["method"] == method;
        while self.told.iter().filter(|told| is_it(told)).count() < number {
            self.hear().await;
        }
        let told: Vec<_> = self.told.extract_if(.., |told| is_it(told)).collect();
        assert_eq!(told.len(), number, "{told:?}");
        told
    }

    /// What was told that nobody asked for.
    pub(super) fn untold(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Whether a notification that belongs to this request may come on this stream.
    pub(super) fn is_stream_of(&self, id: u64, on: On) -> bool {
        match self.wire.has_streams() {
            true => on == On::Request(id),
            false => on == On::Session,
        }
    }

    async fn answer(&mut self, id: u64, asked: &mut Vec<Value>) -> Value {
        loop {
            if let Some(question) = self.questions.pop_front() {
                let result = self.respond(&question).await;
                asked.push(question.clone());
                let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
                self.wire.send(answer).await;
            } else if let Some(answer) = self.answers.remove(&id) {
                return answer;
            } else {
                self.hear().await;
            }
        }
    }

    /// The next message, to where it belongs.
    async fn hear(&mut self) {
        match within("what comes next", self.wire.next()).await {
            Heard::Ended(id) => {
                assert!(!self.open.contains(&id), "{id} was not answered");
                self.ended.insert(id);
            }
            Heard::Message { message, on } if message.get("method").is_none() => {
                let id = message["id"].as_u64().filter(|id| self.open.remove(id));
                let id = id.unwrap_or_else(|| panic!("an answer to nothing: {message}"));
                assert!(self.is_stream_of(id, on), "{message} on {on:?}");
                self.answers.insert(id, message);
            }
            Heard::Message { message, .. } if message["method"] == "ping" => {
                assert_ne!(self.speaks, Speaks::Modern, "{message}");
                let pong = json!({ "jsonrpc": "2.0", "id": message["id"], "result": {} });
                self.wire.send(pong).await;
            }
            Heard::Message { message, .. } if message.get("id").is_some() => {
                assert_ne!(self.speaks, Speaks::Modern, "{message}");
                self.questions.push_back(message);
            }
            Heard::Message { message, on } => self.told.push(Told { message, on }),
        }
    }

    /// Puts the answers to what a result asks for into a request.
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

    /// What the host, its model and its person answer.
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
                assert_eq!(name.is_empty(), self.speaks == Speaks::Modern, "{question}");
                self.visit(&params["url"]).await;
                json!({ "action": "accept" })
            }
            Some("elicitation/create") => {
                let fields = params["requestedSchema"]["properties"].as_object();
                let fields = fields.expect("fields").keys();
                let content: Map<_, _> =
                    fields.map(|field| (field.clone(), known(field))).collect();
                json!({ "action": "accept", "content": content })
            }
            _ => panic!("nobody asks that: {question}"),
        }
    }

    /// The person goes where the server sends them.
    pub(super) async fn visit(&self, url: &Value) {
        let url = url.as_str().expect("an address");
        let page = within(url, self.person.get(url).send()).await;
        assert_eq!(page.expect("a page").status(), 200, "{url}");
    }
}

impl Outcome {
    /// The result, of a request that was not refused.
    pub(super) fn take_result(&mut self) -> Value {
        let result = self.answer["result"].take();
        assert!(result.is_object(), "{}", self.answer);
        result
    }

    /// The one text in the result of a tool.
    pub(super) fn text(&mut self) -> String {
        let result = self.take_result();
        assert_ne!(result["isError"], true, "{result}");
        assert_eq!(result["content"].as_array().map(Vec::len), Some(1));
        let text = result["content"][0]["text"].as_str();
        text.expect("a text").to_owned()
    }

    /// The methods of what was asked, in order of their names.
    pub(super) fn methods(&self) -> Vec<&str> {
        let methods = self.asked.iter().filter_map(|one| one["method"].as_str());
        let mut methods: Vec<_> = methods.collect();
        methods.sort_unstable();
        methods
    }
}

/// What the person puts into a field.
fn known(field: &str) -> Value {
    match field {
        "name" => json!("Ada"),
        "color" => json!("teal"),
        "context" => json!("tests"),
        other => panic!("the person does not know `{other}`"),
    }
}
