//! What a host says of itself, and the requests it makes.
//!
//! Owns: the ids, the handshake of the legacy era (2025-11-25, "Lifecycle"), and what every
//! request of the modern era says (2026-07-28, "Overview", `_meta`).
//! Does not own: what the server asks in return ([`crate::call`]).

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use crate::{call, program::Program};

/// What a modern server says of a version that it does not speak (2026-07-28, "Versioning").
const UNSUPPORTED_VERSION: i64 = -32022;

/// What the host speaks in each era.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// How the host speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// With a handshake.
    Legacy,
    /// Without one.
    Modern,
}

/// A host's conversation with the server behind the program.
pub(crate) struct Conversation {
    pub(crate) era: Era,
    program: Program,
    last_id: u64,
    /// What the other end can do, as its handshake says; null before that and without one.
    offered: Value,
}

/// What came from the other end and matters.
pub(crate) enum Heard {
    /// The answer to the request that is waited for: the whole message.
    Answer(Value),
    /// A request of the server: the whole message.
    Request(Value),
}

impl Conversation {
    /// A conversation in which nothing was said.
    pub(crate) fn new(era: Era, program: Program) -> Self {
        Self {
            era,
            program,
            last_id: 0,
            offered: Value::Null,
        }
    }

    /// Does what a host of this era does first.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        match self.era {
            Era::Legacy => self.shake_hands().await,
            Era::Modern => self.discover().await,
        }
    }

    async fn shake_hands(&mut self) -> Result<()> {
        let params = json!({
            "protocolVersion": LEGACY,
            "capabilities": capabilities(),
            "clientInfo": identity(),
        });
        let mut result = self.request("initialize", params).await?;
        self.offered = result["capabilities"].take();
        let version = result["protocolVersion"].as_str();
        version.with_context(|| format!("no version: {result}"))?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await
    }

    /// A server that says it does not speak our version and then names it is asked again, once.
    async fn discover(&mut self) -> Result<()> {
        let mut answer = self.ask_and_wait("server/discover", json!({})).await?;
        let error = &answer["error"];
        let names_ours = error["data"]["supported"]
            .as_array()
            .is_some_and(|versions| versions.iter().any(|version| version == MODERN));
        if error["code"] == UNSUPPORTED_VERSION && names_ours {
            answer = self.ask_and_wait("server/discover", json!({})).await?;
        }
        result_of("server/discover", answer).map(drop)
    }

    /// Makes a request and waits for its result.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        let answer = self.ask_and_wait(method, params).await?;
        result_of(method, answer)
    }

    /// Asks for a list that a server has, page after page.
    pub(crate) async fn list(&mut self, method: &str, of: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let mut page = self.request(method, params).await?;
            let Value::Array(some) = page[of].take() else {
                bail!("no {of} in the answer to {method}");
            };
            all.extend(some);
            match page["nextCursor"].take() {
                Value::Null => return Ok(all),
                cursor => params = json!({ "cursor": cursor }),
            }
        }
    }

    /// Waits to be told that there are other tools now, where that was promised. Says whether it
    /// was.
    pub(crate) async fn hear_of_tools(&mut self) -> Result<bool> {
        if self.offered["tools"]["listChanged"] != true {
            return Ok(false);
        }
        loop {
            let message = self.program.next().await?;
            if message["method"] == "notifications/tools/list_changed" {
                return Ok(true);
            }
        }
    }

    /// Makes a request; its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        let params = match self.era {
            Era::Legacy => params,
            Era::Modern => introduced(params),
        };
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await?;
        Ok(id)
    }

    /// Waits for the answer to a request, or for a request of the server before that. What is
    /// neither is passed over, but an answer that was not asked for is a fault.
    pub(crate) async fn hear(&mut self, id: u64) -> Result<Heard> {
        loop {
            let message = self.program.next().await?;
            match (&message["id"], &message["method"]) {
                (Value::Null, Value::String(_)) => {}
                (_, Value::String(_)) => return Ok(Heard::Request(message)),
                (answered, _) if *answered == id => return Ok(Heard::Answer(message)),
                _ => bail!("an answer to nothing: {message}"),
            }
        }
    }

    /// Answers a request of the server.
    pub(crate) async fn answer(&mut self, request: &Value) -> Result<()> {
        let result = call::answer(request)?;
        self.send(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }))
            .await
    }

    /// Says goodbye as hosts do: by the end of the program's stdin.
    pub(crate) async fn end(self) -> Result<()> {
        self.program.end().await
    }

    async fn ask_and_wait(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.ask(method, params).await?;
        loop {
            match self.hear(id).await? {
                Heard::Answer(answer) => return Ok(answer),
                Heard::Request(request) => self.answer(&request).await?,
            }
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        self.program.send(message).await
    }
}

/// The result in an answer.
pub(crate) fn result_of(method: &str, mut answer: Value) -> Result<Value> {
    match answer["result"].take() {
        Value::Null => bail!("{method}: {answer}"),
        result => Ok(result),
    }
}

/// Parameters with what every request of the modern era says.
fn introduced(params: Value) -> Value {
    let mut params = match params {
        Value::Object(params) => params,
        _ => Map::new(),
    };
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": capabilities(),
        "io.modelcontextprotocol/clientInfo": identity(),
    });
    params.insert("_meta".to_owned(), meta);
    Value::Object(params)
}

fn capabilities() -> Value {
    json!({ "elicitation": {}, "roots": {}, "sampling": {} })
}

fn identity() -> Value {
    json!({ "name": "a host of the suite's scenarios", "version": "1.0.0" })
}
